"""HTTP to an identity provider, within the limits that somebody else's server calls for.

Answers for https (plain http between loopback addresses only), no redirects, ten seconds for a whole exchange, and a
bounded response, and turns every failure into one sentence for the person signing in. It knows nothing of OIDC.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx2

from bastion.config.values import is_loopback
from bastion.errors import SignInError

TIMEOUT = 10.0
LARGEST_RESPONSE = 1 << 20


class _Unfit(httpx2.TransportError):
    """A request that we do not send, or a response that we do not read on."""


def is_fit_url(url: str, *, issuer: str) -> bool:
    """Whether *url* may be asked, or shown to a person, on behalf of *issuer*: https, or loopback both."""
    try:
        parts, home = urlsplit(url), urlsplit(issuer)
        secure = parts.scheme == "https" and bool(parts.hostname)
        local = (
            parts.scheme == "http" and is_loopback(parts.hostname or "") and is_loopback(home.hostname or "")
        )
    except ValueError:
        return False
    return (secure or local) and url.isascii() and url.isprintable() and " " not in url


@cache
def _tls() -> ssl.SSLContext:
    """One for all clients: making it reads every root certificate, which would stop the event loop at each poll."""
    return httpx2.create_ssl_context()


def client_options(issuer: str) -> dict[str, Any]:
    """What every httpx2 client that talks to *issuer* is made with."""

    async def check_request(request: httpx2.Request) -> None:
        if not is_fit_url(str(request.url), issuer=issuer):
            raise _Unfit(f"{request.url.host} is not reached over https")

    return {
        "timeout": TIMEOUT,
        "verify": _tls(),
        "follow_redirects": False,
        # A proxy named by the environment serves the outside; an issuer on this machine is never behind it.
        "trust_env": not is_loopback(urlsplit(issuer).hostname or ""),
        # Compressed bodies are not asked for, so the bound on bytes read bounds memory too.
        "headers": {"Accept": "application/json", "Accept-Encoding": "identity"},
        "event_hooks": {"request": [check_request], "response": [_bound_response]},
    }


class _Bounded(httpx2.AsyncByteStream):
    """Passes a response's bytes on until there are too many."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > LARGEST_RESPONSE:
                raise _Unfit("its response is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound_response(response: httpx2.Response) -> None:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _Unfit("its response is compressed although we asked for none")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


class ProviderError(SignInError):
    """The provider is down, or does not make sense: *cause* says which."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"sign-in is not available: {cause}; certificates that are still valid keep working",
            hint="Try again in a minute. If it stays so, tell whoever runs the bastion.",
        )


@asynccontextmanager
async def talking_to(issuer: str) -> AsyncIterator[None]:
    """Run one exchange with *issuer*; raise ProviderError when it takes over ten seconds or fails."""
    host = urlsplit(issuer).netloc
    try:
        async with asyncio.timeout(TIMEOUT):
            yield
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise ProviderError(f"{host} did not answer within {TIMEOUT:.0f} seconds") from error
    except httpx2.HTTPStatusError as error:
        raise ProviderError(f"{host} answered with status {error.response.status_code}") from error
    except _Unfit as error:
        raise ProviderError(f"{host}: {error}") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ProviderError(f"{host} cannot be reached ({str(error) or type(error).__name__})") from error


async def get_json(url: str, *, issuer: str) -> dict[str, object]:
    """Fetch the JSON object at *url* for *issuer*; raise ProviderError when it cannot be had."""
    async with talking_to(issuer), httpx2.AsyncClient(**client_options(issuer)) as client:
        response = await client.get(url)
        if response.status_code != 200:  # a redirect is an answer too, and not the one asked for
            raise ProviderError(f"{urlsplit(url).netloc} answered with status {response.status_code}")
        try:
            document = response.json()
        except (ValueError, RecursionError) as error:
            raise ProviderError(f"{urlsplit(url).netloc} did not answer with JSON") from error
    if not isinstance(document, dict):
        raise ProviderError(f"{urlsplit(url).netloc} did not answer with a JSON object")
    return document
