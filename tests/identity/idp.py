"""A provider that publishes whatever a test wants: any keys, any discovery document, any failure. Real HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import warnings
from collections import Counter
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from bastion.config import model
from bastion.identity.web import LoopbackServer, Request, Response

RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig", "alg": "RS256"})
EC = ECKey.generate_key("P-256", {"kid": "ec", "use": "sig", "alg": "ES256"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed", "use": "sig"})
NOW = 1_800_000_000
NONCE = "the nonce we sent"


class Idp:
    """Serves `discovery` and `keys`; `fetched` counts requests by path, `broken` maps a path to what it answers."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [public(RSA), public(EC), public(ED)]
        self.discovery: dict[str, Any] = {}
        self.broken: dict[str, Response] = {}
        self.fetched: Counter[str] = Counter()
        self.hold: asyncio.Event | None = None
        self._server = LoopbackServer(self._answer)

    async def __aenter__(self) -> Idp:
        await self._server.start()
        self.discovery = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "device_authorization_endpoint": f"{self.url}/device/code",
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    def settings(self, **over: Any) -> model.Issuer:
        """A bastion's settings for this provider."""
        values = {"alias": "corp", "issuer": self.url, "client_id": "bastion", **over}
        return model.Issuer(**values)

    async def _answer(self, request: Request) -> Response:
        self.fetched[request.path] += 1
        if self.hold is not None:
            await self.hold.wait()
        if (broken := self.broken.get(request.path)) is not None:
            return broken
        document = {"/.well-known/openid-configuration": self.discovery, "/jwks": {"keys": self.keys}}
        if request.path not in document:
            return Response(status=404)
        return Response(content_type="application/json", body=json.dumps(document[request.path]).encode())

    def claims(self, **over: Any) -> dict[str, Any]:
        """The claims of a token that is right in everything; a claim given as ... is left out."""
        claims = {
            "iss": self.url,
            "aud": "bastion",
            "sub": "subject-1",
            "iat": NOW - 5,
            "exp": NOW + 300,
            "nonce": NONCE,
            "preferred_username": "alice",
            "groups": ["sre"],
            **over,
        }
        return {name: value for name, value in claims.items() if value is not ...}

    def token(self, key: Key = RSA, *, header: dict[str, Any] | None = None, **over: Any) -> str:
        """A token that is right in everything but what *over* and *header* change."""
        algorithm = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[key.key_type]
        full: dict[str, Any] = {"alg": algorithm, "kid": key.kid, **(header or {})}
        full = {name: value for name, value in full.items() if value is not ...}
        with warnings.catch_warnings(action="ignore"):  # of the name EdDSA
            return jwt.encode(
                full, self.claims(**over), key, algorithms=[algorithm, full["alg"]], default_type=None
            )


def public(key: Key, **over: Any) -> dict[str, Any]:
    """The JWKS entry of *key*."""
    return {name: value for name, value in {**key.as_dict(private=False), **over}.items() if value is not ...}


def encode(part: object) -> str:
    """A part of a token, made by hand."""
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
