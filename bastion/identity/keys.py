"""Which keys of a provider's JWKS document we verify ID tokens with.

One key that we cannot use must not cost us the others: each is judged by itself, and one that is unfit is left out
with a reason for the log. Nothing is fetched here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import JWKRegistry, Key, KeySet

SMALLEST_RSA_KEY = 2048
_CURVES = {"EC": frozenset({"P-256", "P-384"}), "OKP": frozenset({"Ed25519"})}
_MOST_KEYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeys:
    """The usable keys of a JWKS document, and for each other one why it is not used."""

    usable: KeySet
    left_out: tuple[str, ...] = ()


def read_signing_keys(document: Mapping[str, object]) -> SigningKeys:
    """Read a JWKS document (RFC 7517); raise ValueError when it holds no list of keys."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise ValueError("there is no list of keys in it")
    usable: list[Key] = []
    left_out: list[str] = []
    for entry in entries[:_MOST_KEYS]:
        match _read(entry):
            case str() as reason:
                left_out.append(reason)
            case key:
                usable.append(key)
    if len(entries) > _MOST_KEYS:
        left_out.append(f"{len(entries) - _MOST_KEYS} keys beyond the first {_MOST_KEYS}")
    return SigningKeys(usable=KeySet(usable), left_out=tuple(left_out))


def _read(entry: object) -> Key | str:
    """The key that a JWKS entry holds, or why we do not use it."""
    if not isinstance(entry, dict):
        return "an entry that is no object"
    name = f"key {str(entry.get('kid'))[:80]!r}"
    if (unfit := _unfit(entry)) is not None:
        return f"{name}: {unfit}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of small keys, which are left out below
            key = JWKRegistry.import_key(entry)
            native = key.public_key  # the library reads the numbers only now
    except (JoseError, ValueError, TypeError, KeyError) as error:
        return f"{name}: cannot be read ({error})"
    if isinstance(native, RSAPublicKey) and native.key_size < SMALLEST_RSA_KEY:
        return f"{name}: an RSA key of {native.key_size} bits, fewer than {SMALLEST_RSA_KEY}"
    return key


def _unfit(entry: Mapping[str, object]) -> str | None:
    """Why an entry is left out before it is parsed (an unknown curve is a bare KeyError in the library)."""
    kind, curve = entry.get("kty"), entry.get("crv")
    if kind not in ("RSA", "EC", "OKP"):
        return f"unknown key type {str(kind)[:20]!r}"
    if kind != "RSA" and curve not in _CURVES[str(kind)]:
        return f"unknown curve {str(curve)[:20]!r}"
    if entry.get("use", "sig") != "sig":
        return "not meant for signatures"
    if "d" in entry:
        return "a private key, which nobody may publish"
    return None
