"""The OAuth requests that signing in consists of, as typed functions around Authlib's client.

The only file that touches Authlib's client. Device grant: RFC 8628; code with PKCE: RFC 7636. What is polled when,
and what a person is told, is decided in `device` and `loopback`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]

from bastion.errors import SignInError
from bastion.identity.fetch import ProviderError, client_options, talking_to
from bastion.identity.oidc import Provider
from bastion.runtime.secrets import Secret

_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a token endpoint gave."""

    id_token: Secret
    access_token: Secret | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An OAuth error code (RFC 6749 5.2, RFC 8628 3.5), such as `authorization_pending` or `access_denied`."""

    error: str


def _client(provider: Provider, **options: Any) -> Any:
    secret = provider.client_secret
    return AsyncOAuth2Client(
        provider.settings.client_id,
        client_secret=secret.reveal() if secret else None,
        token_endpoint_auth_method="client_secret_basic" if secret else "none",
        # Without it Authlib leaves the code verifier out of the URL, silently.
        code_challenge_method="S256",
        **client_options(provider.settings.issuer),
        **options,
    )


async def ask_for_device_code(provider: Provider) -> Mapping[str, object] | Refusal:
    """Start a device grant; returns the provider's answer as it came (RFC 8628 3.2)."""
    metadata = await provider.metadata()
    url = metadata.device_authorization_endpoint
    if url is None:
        raise SignInError(
            "sign-in by code is not offered by the provider", hint="Sign in with a browser: bastion login"
        )
    form = {"scope": " ".join(provider.settings.scopes)}
    async with talking_to(provider.settings.issuer), _client(provider) as client:
        # The same authentication as at the token endpoint (RFC 8628 3.1); without a secret it adds the client id.
        auth = client.client_auth(client.token_endpoint_auth_method)
        response = await client.request("POST", url, data=form, withhold_token=True, auth=auth)
    document = _json_object(response)
    if isinstance(error := document.get("error"), str):
        return Refusal(error=error)
    if response.status_code != 200:
        raise ProviderError(f"{urlsplit(url).netloc} answered with status {response.status_code}")
    return document


async def redeem_device_code(provider: Provider, device_code: Secret) -> Tokens | Refusal:
    """Ask once whether the person has signed in (RFC 8628 3.4)."""
    return await _fetch_token(provider, {}, grant_type=_DEVICE_GRANT, device_code=device_code.reveal())


async def authorization_url(
    provider: Provider, *, redirect_uri: str, nonce: str, state: str, code_verifier: str
) -> str:
    """The URL to open in the browser (OpenID Connect Core 3.1.2.1 with PKCE)."""
    metadata = await provider.metadata()
    client = _client(provider, redirect_uri=redirect_uri, scope=" ".join(provider.settings.scopes))
    url, _ = client.create_authorization_url(
        metadata.authorization_endpoint, state=state, nonce=nonce, code_verifier=code_verifier
    )
    return str(url)


async def redeem_code(
    provider: Provider, *, code: str, redirect_uri: str, code_verifier: str
) -> Tokens | Refusal:
    """Turn an authorization code into tokens (RFC 6749 4.1.3, RFC 7636 4.5)."""
    return await _fetch_token(
        provider,
        {"redirect_uri": redirect_uri},
        grant_type="authorization_code",
        code=code,
        code_verifier=code_verifier,
    )


async def _fetch_token(provider: Provider, options: dict[str, Any], **form: str) -> Tokens | Refusal:
    metadata = await provider.metadata()
    async with talking_to(provider.settings.issuer), _client(provider, **options) as client:
        try:
            token = await client.fetch_token(metadata.token_endpoint, **form)
        except OAuthError as error:
            return Refusal(error=str(error.error))
        except (ValueError, TypeError, RecursionError) as error:
            raise ProviderError(
                f"{urlsplit(metadata.token_endpoint).netloc} gave no usable answer"
            ) from error
    if not isinstance(token, dict):
        raise ProviderError(f"{urlsplit(metadata.token_endpoint).netloc} gave no usable answer")
    id_token, access_token = token.get("id_token"), token.get("access_token")
    if not isinstance(id_token, str):
        raise SignInError(
            "sign-in refused: the provider sent no ID token",
            hint="The scopes of the issuer in the bastion's settings must contain openid.",
        )
    return Tokens(
        id_token=Secret(id_token),
        access_token=Secret(access_token) if isinstance(access_token, str) else None,
    )


def _json_object(response: httpx2.Response) -> dict[str, object]:
    try:
        document = response.json()
    except (ValueError, RecursionError) as error:
        raise ProviderError(f"{response.url.host} did not answer with JSON") from error
    if not isinstance(document, dict):
        raise ProviderError(f"{response.url.host} did not answer with a JSON object")
    return document
