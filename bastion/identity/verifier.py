"""The rules that an ID token must pass. This is the security argument of sign-in, so it is a numbered procedure.

`verify_id_token` goes through these steps in this order, and each block below carries its number:

 1. The token is ASCII text of three parts and at most 64 kB.
 2. Its header names an algorithm from *our* settings (never `none`, never HS*), no critical extension, and no type
    other than JWT: access tokens (RFC 9068) and logout tokens are signed by the same keys.
 3. The key comes from the provider's JWKS, by key id. `jwk`, `jku`, `x5c` and `x5u` in the header mean nothing. A key
    id that is unknown, or a signature that does not fit, makes us look for newer keys once, within limits.
 4. The signature is right under that key and algorithm, and the payload is a JSON object.
 5. `iss` is our issuer, character by character.
 6. `aud` names our client. With several audiences `azp` is required; where `azp` stands it is our client.
 7. `exp` has not passed, `nbf` and `iat` are not in the future (30 seconds of leeway), all of them finite numbers.
 8. `iat` is at most ten minutes old: a token is spent at once, never kept.
 9. `sub` is a text of 1 to 255 characters.
10. `nonce` is the one we expect, when we expect one.
11. `at_hash` fits the access token, when both are there.
"""

from __future__ import annotations

import hashlib
import hmac
import warnings
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jws, jwt
from joserfc.errors import (
    BadSignatureError,
    ClaimError,
    ExpiredTokenError,
    InvalidKeyIdError,
    JoseError,
    MissingClaimError,
    SecurityWarning,
)
from joserfc.jwk import KeySet

from bastion.config.model import Issuer
from bastion.errors import TokenRejected

LARGEST_TOKEN = 64 * 1024
LEEWAY = 30
OLDEST = 600

_HALF_HASHES = {
    "RS256": hashlib.sha256,
    "PS256": hashlib.sha256,
    "ES256": hashlib.sha256,
    "ES384": hashlib.sha384,
    "EdDSA": hashlib.sha512,  # Ed25519, the only curve that `keys` lets through
    "Ed25519": hashlib.sha512,
}


class KeySource(Protocol):
    """Where the verifier takes keys from: `oidc.Provider`."""

    @property
    def settings(self) -> Issuer: ...
    async def keys(self) -> KeySet: ...
    async def newer_keys(self, than: KeySet) -> KeySet: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """The claims of a token that passed. Times are Unix seconds.

    From *expires_at* on no verification would accept it any more, by its `exp` or by its age. *digest* names the
    token, in whatever way its signature is written.
    """

    claims: Mapping[str, Any]
    issuer: str
    subject: str
    issued_at: float
    expires_at: float
    digest: str


async def verify_id_token(
    source: KeySource, token: str, *, now: float, nonce: str | None = None, access_token: str | None = None
) -> VerifiedToken:
    """Verify *token* at *now* (Unix seconds); raise TokenRejected, or SignInError when there are no keys."""
    settings = source.settings
    header = _check_form(token, settings)  # 1, 2
    claims = await _verify_signature(source, token)  # 3, 4
    _check_registered_claims(claims, header, settings, now)  # 5, 6, 7
    _check_fresh_and_whole(claims, now)  # 8, 9
    _check_binding(claims, str(header["alg"]), nonce, access_token)  # 10, 11
    return VerifiedToken(
        claims=claims,
        issuer=claims["iss"],
        subject=claims["sub"],
        issued_at=claims["iat"],
        expires_at=min(claims["exp"], claims["iat"] + OLDEST) + LEEWAY,
        # Over what is signed: the same signature can be written in more ways than one (ECDSA, base64).
        digest=hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest(),
    )


def _check_form(token: str, settings: Issuer) -> dict[str, Any]:
    """Return the header, which is still untrusted."""
    # 1: shape
    if len(token) > LARGEST_TOKEN:
        raise TokenRejected(f"the token has {len(token)} characters", "the provider's answer is too large")
    if not token.isascii() or token.count(".") != 2:
        raise TokenRejected("the token is not three parts of ASCII text")

    # 2: header
    allowed = _algorithms(settings)
    try:
        header = jws.extract_compact(token.encode(), registry=_registry(allowed)).headers()
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise TokenRejected(f"the token cannot be read: {error}") from error
    if not isinstance(header, dict):
        raise TokenRejected("the header is not a JSON object")
    if header.get("alg") not in allowed:
        raise TokenRejected(f"the algorithm {_shown(header.get('alg'))} is not among {', '.join(allowed)}")
    if "crit" in header:
        raise TokenRejected("the header has critical extensions")
    if str(header.get("typ", "JWT")).upper() != "JWT":
        raise TokenRejected(f"a token of type {_shown(header.get('typ'))} is no ID token")
    return header


def _algorithms(settings: Issuer) -> tuple[str, ...]:
    """Our algorithms, with the name that RFC 9864 gives to EdDSA on Ed25519."""
    return (*settings.algorithms, *(["Ed25519"] if "EdDSA" in settings.algorithms else []))


def _registry(algorithms: tuple[str, ...]) -> jws.JWSRegistry:
    # Headers that we do not know are ignored (RFC 7515, 4): Entra and Okta send some.
    registry = jws.JWSRegistry(algorithms=algorithms, strict_check_header=False)
    registry.max_header_length = 4096  # an x5c chain would be longer, and nobody needs one here
    return registry


async def _verify_signature(source: KeySource, token: str) -> dict[str, Any]:
    registry = _registry(_algorithms(source.settings))
    # 3: key, 4: signature
    keys = await source.keys()
    try:
        try:
            return _decode(token, keys, registry)
        except (InvalidKeyIdError, BadSignatureError):
            # The provider may have rotated its keys; some even keep the key id.
            return _decode(token, await source.newer_keys(keys), registry)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise TokenRejected(f"the signature cannot be verified: {error}") from error


def _decode(token: str, keys: KeySet, registry: jws.JWSRegistry) -> dict[str, Any]:
    with warnings.catch_warnings():
        # RFC 9864 gives EdDSA a new name for each curve, and joserfc warns of the old one. Our only curve is Ed25519.
        warnings.simplefilter("ignore", SecurityWarning)
        return jwt.decode(token, keys, registry=registry).claims


def _check_registered_claims(
    claims: dict[str, Any], header: dict[str, Any], settings: Issuer, now: float
) -> None:
    # 5: issuer, 6: audience, 7: times
    options = {
        "iss": {"essential": True, "value": settings.issuer},
        "aud": {"essential": True, "value": settings.client_id},
        "exp": {"essential": True},
        "iat": {"essential": True},
        "sub": {"essential": True},
    }
    try:
        CodeIDToken(claims, header, options, {"client_id": settings.client_id}).validate(
            now=now, leeway=LEEWAY
        )
    except ExpiredTokenError as error:
        reason = f"exp is {_shown(claims['exp'])}, now it is {now:.0f}"
        raise TokenRejected(reason, "it has expired") from error
    except MissingClaimError as error:
        raise TokenRejected(f"{error.claim} is missing") from error
    except ClaimError as error:
        reason = f"{error.claim} is {_shown(claims.get(error.claim))}: {error.description}"
        if error.claim in ("aud", "azp"):
            raise TokenRejected(reason, "it was made for another application") from error
        raise TokenRejected(reason) from error
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRejected(f"the claims cannot be read: {error}") from error
    if claims.get("azp", settings.client_id) != settings.client_id:  # the library passes over an empty one
        raise TokenRejected(f"azp is {_shown(claims['azp'])}", "it was made for another application")


def _check_fresh_and_whole(claims: dict[str, Any], now: float) -> None:
    # 8: freshness
    if claims["iat"] < now - OLDEST - LEEWAY:
        raise TokenRejected(
            f"iat is {_shown(claims['iat'])}, now it is {now:.0f}", "it was made too long ago"
        )

    # 9: subject
    if not 1 <= len(claims["sub"]) <= 255:
        raise TokenRejected(f"sub has {len(claims['sub'])} characters")


def _check_binding(
    claims: dict[str, Any], algorithm: str, nonce: str | None, access_token: str | None
) -> None:
    # 10: nonce
    if nonce is not None and not _same(claims.get("nonce"), nonce):
        raise TokenRejected(
            "the nonce is not the expected one" if "nonce" in claims else "the nonce is missing",
            "it was made for another key or another attempt",
        )

    # 11: access token
    if access_token is None or "at_hash" not in claims:
        return  # optional in the code flow and the device grant (OpenID Connect Core 3.1.3.6)
    if not _same(claims["at_hash"], _half_hash(access_token, algorithm)):
        raise TokenRejected("at_hash does not fit the access token")


def _shown(value: object) -> str:
    """*value* for the log, however large it is."""
    return repr(value)[:200]


def _same(value: object, expected: str) -> bool:
    return isinstance(value, str) and hmac.compare_digest(value.encode(), expected.encode())


def _half_hash(access_token: str, algorithm: str) -> str:
    """OpenID Connect Core 3.1.3.6: the left half of the digest that the token's algorithm uses."""
    digest = _HALF_HASHES[algorithm](access_token.encode()).digest()
    return urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
