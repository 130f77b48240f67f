"""Sign-in with the browser of this machine: authorization code with PKCE (RFC 7636), the answer on loopback (RFC 8252).

This is the client's half of `bastion login`: it runs on the person's machine, where the browser proves that whoever
signs in also holds the terminal. What the ID token is then exchanged for is in `exchange`.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Awaitable, Callable
from html import escape

from pydantic import ValidationError

from bastion.config.model import Issuer
from bastion.errors import SignInError
from bastion.identity.exchange import Hello
from bastion.identity.oauth import Refusal, authorization_url, redeem_code
from bastion.identity.oidc import Provider
from bastion.identity.pages import page
from bastion.identity.web import LoopbackServer, Request, Response
from bastion.runtime.secrets import Secret

LONGEST_WAIT = 170.0
"""Seconds; a bastion gives a sign-in three minutes by default, and the certificate takes a moment too."""

_PATH = "/callback"

ShowUrl = Callable[[str], Awaitable[None]]


def provider_of(hello: Hello) -> Provider:
    """The provider that a bastion names in its *hello*; raises SignInError when it makes no sense."""
    try:
        settings = Issuer(
            alias="bastion", issuer=hello.issuer, client_id=hello.client_id, scopes=hello.scopes
        )
    except ValidationError as error:
        raise SignInError(
            f"the bastion names a provider that cannot be used: {hello.issuer[:200]!a}",
            hint="Tell whoever runs the bastion.",
        ) from error
    return Provider(settings)


async def sign_in_with_browser(
    provider: Provider, *, nonce: str, show_url: ShowUrl, timeout: float = LONGEST_WAIT
) -> Secret:
    """Let the person sign in where *show_url* leads; returns the ID token, not yet verified by anybody.

    Raises SignInError when they refuse, when the provider does, or when *timeout* seconds have passed.
    """
    issuer, metadata = provider.settings.issuer, await provider.metadata()
    callback = _Callback(issuer=issuer, issuer_required=metadata.answers_with_issuer)
    server = LoopbackServer(callback.answer)
    await server.start()
    try:
        redirect_uri = f"http://127.0.0.1:{server.port}{_PATH}"
        code_verifier = secrets.token_urlsafe(48)
        await show_url(
            await authorization_url(
                provider,
                redirect_uri=redirect_uri,
                nonce=nonce,
                state=callback.state,
                code_verifier=code_verifier,
            )
        )
        async with asyncio.timeout(timeout):
            code = await callback.code
    except TimeoutError as error:
        raise SignInError(
            f"nobody has signed in within {timeout:.0f} seconds", hint="Run the command again."
        ) from error
    finally:
        await server.close()
    match await redeem_code(provider, code=code, redirect_uri=redirect_uri, code_verifier=code_verifier):
        case Refusal(error=error_code):
            raise _refused(error_code)
        case tokens:
            return tokens.id_token


class _Callback:
    """The page that the provider sends the browser back to."""

    def __init__(self, *, issuer: str, issuer_required: bool) -> None:
        self.state = secrets.token_urlsafe(32)
        self.code: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._issuer = issuer
        self._issuer_required = issuer_required

    async def answer(self, request: Request) -> Response:
        query = request.query
        if (request.method, request.path) != ("GET", _PATH):
            return Response(status=404, body=b"there is nothing here\n")
        # Whatever does not carry our state did not come from our sign-in, and must not end it either.
        if not hmac.compare_digest(query.get("state", "").encode(), self.state.encode()):
            return _page(
                "This is another sign-in", "It does not belong to the one that your terminal waits for.", 400
            )
        outcome = self._read(query.get("iss"), query.get("error"), query.get("code"))
        if isinstance(outcome, SignInError):
            if not self.code.done():
                self.code.set_exception(outcome)
            return _page("Not signed in", f"{outcome.message}. Go back to your terminal.", 400)
        if not self.code.done():
            self.code.set_result(outcome)
        return _page("You are signed in", "Go back to your terminal; you can close this tab.", 200)

    def _read(self, issuer: str | None, error: str | None, code: str | None) -> str | SignInError:
        # RFC 9207: an answer of another issuer is a mix-up attack.
        if issuer != self._issuer and (issuer is not None or self._issuer_required):
            return SignInError("the answer came from another provider", hint="Run the command again.")
        if error is not None:
            return _refused(error)
        if not code:
            return SignInError("the provider's answer holds no code", hint="Run the command again.")
        return code


def _page(title: str, text: str, status: int) -> Response:
    return page(title, f"<p>{escape(text)}</p>", status=status)


def _refused(error: str) -> SignInError:
    if error == "access_denied":
        return SignInError(
            "sign-in was denied in the browser", hint="Run the command again to try once more."
        )
    return SignInError(
        f"the provider refused the sign-in ({error[:80]!a})", hint="Tell whoever runs the bastion."
    )
