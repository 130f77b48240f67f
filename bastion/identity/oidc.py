"""One configured OIDC provider: its discovery document and its signing keys.

Both are fetched when first needed and kept for an hour. A provider that is down therefore stops sign-ins, with a
clear message, and nothing else. What tokens must look like is the verifier's business, how people sign in that of
`device` and `loopback`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from joserfc.jwk import KeySet

from bastion.config.model import Issuer
from bastion.errors import KeyFileError
from bastion.identity.cache import Cached
from bastion.identity.fetch import ProviderError, get_json, is_fit_url
from bastion.identity.keys import read_signing_keys
from bastion.runtime.files import read_private
from bastion.runtime.secrets import Secret

LIFETIME = 3600.0
SPACING = 30.0
"""An unknown key id may make us fetch the keys again, but not more often than this (seconds)."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What we use of a discovery document (OpenID Connect Discovery 1.0, RFC 8628, RFC 9207)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    device_authorization_endpoint: str | None
    answers_with_issuer: bool


class Provider:
    """The provider that *settings* name; *monotonic* is the clock of its caches."""

    def __init__(self, settings: Issuer, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.client_secret = _read_client_secret(settings)
        self._metadata = Cached(self._fetch_metadata, lifetime=LIFETIME, spacing=SPACING, monotonic=monotonic)
        self._keys = Cached(self._fetch_keys, lifetime=LIFETIME, spacing=SPACING, monotonic=monotonic)

    async def metadata(self) -> Metadata:
        """The provider's endpoints; raises SignInError when they cannot be had."""
        return await self._metadata.get()

    async def keys(self) -> KeySet:
        """The provider's signing keys; raises SignInError when they cannot be had."""
        return await self._keys.get()

    async def newer_keys(self, than: KeySet) -> KeySet:
        """Keys fetched after *than*, for a token that those do not fit; at most one fetch in 30 seconds."""
        return await self._keys.newer(than)

    async def _fetch_metadata(self) -> Metadata:
        issuer = self.settings.issuer
        url = issuer.rstrip("/") + "/.well-known/openid-configuration"
        return _read_metadata(await get_json(url, issuer=issuer), issuer)

    async def _fetch_keys(self) -> KeySet:
        metadata = await self.metadata()
        document = await get_json(metadata.jwks_uri, issuer=self.settings.issuer)
        try:
            keys = read_signing_keys(document)
        except ValueError as error:
            raise ProviderError(
                f"the signing keys of {self.settings.issuer} cannot be read: {error}"
            ) from error
        if keys.left_out:
            _log.warning("issuer.keys-left-out", issuer=self.settings.issuer, keys=keys.left_out)
        return keys.usable


def _read_metadata(document: Mapping[str, object], issuer: str) -> Metadata:
    # OpenID Connect Discovery 4.3: compared as it is, a trailing slash makes another issuer.
    if (named := document.get("issuer")) != issuer:
        raise ProviderError(f"{issuer} calls itself {str(named)[:200]!r} in its discovery document")

    def endpoint(name: str) -> str:
        url = document.get(name)
        if not isinstance(url, str) or not is_fit_url(url, issuer=issuer):
            raise ProviderError(f"the discovery document of {issuer} has no usable {name}")
        return url

    device = "device_authorization_endpoint"
    return Metadata(
        authorization_endpoint=endpoint("authorization_endpoint"),
        token_endpoint=endpoint("token_endpoint"),
        jwks_uri=endpoint("jwks_uri"),
        device_authorization_endpoint=endpoint(device) if document.get(device) is not None else None,
        answers_with_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _read_client_secret(settings: Issuer) -> Secret | None:
    path = settings.client_secret_file
    if path is None:
        return None
    try:
        text = read_private(path).decode().strip()
    except UnicodeDecodeError as error:
        raise KeyFileError(
            f"the client secret {path} is not text", hint="Write the secret into it."
        ) from error
    if not text:
        raise KeyFileError(f"the client secret {path} is empty", hint="Write the secret into it.")
    return Secret(text)
