"""Keys of the recorder: it signs with one, anybody verifies with its public half.

A signing key is a file only its owner can read, in PEM (PKCS #8, Ed25519), with the public key in PEM beside it under
`.pub` for auditors to take away. Knows nothing of what is signed.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from recorder.errors import RecorderKeyError
from recorder.names import base32

_RETIRED = re.compile(rb"^Retired: *(.*?)\r?$", re.MULTILINE)


class VerifyKey:
    """A public key; *id* is `rk-` and 80 bits of the SHA-256 of its 32 bytes.

    Nothing it signs after *retired_at* (Unix seconds) holds, if that is set.
    """

    __slots__ = ("_public", "id", "retired_at")

    def __init__(self, public: Ed25519PublicKey, retired_at: float | None = None) -> None:
        self.retired_at = retired_at
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self._public = public
        self.id = "rk-" + base32(hashlib.sha256(raw).digest()[:10], 16)

    @classmethod
    def load(cls, path: Path) -> VerifyKey:
        """Read a public key in PEM, and the date above it if it has one."""
        content = b""
        try:
            content = path.read_bytes()
            key = serialization.load_pem_public_key(content)
        except OSError as error:
            raise RecorderKeyError(
                f"The recorder's public key {path} cannot be read: {error.strerror}."
            ) from error
        except ValueError:
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise RecorderKeyError(
                f"{path} is not an Ed25519 public key in PEM.",
                hint="It starts with BEGIN PUBLIC KEY; the recorder writes it beside its signing key, ending in .pub.",
            )
        return cls(key, _retirement(path, content))

    def retired(self, at: float) -> VerifyKey:
        """The same key, whose signatures hold until *at*."""
        return VerifyKey(self._public, at)

    def is_retired(self, at: float) -> bool:
        """Whether what is signed at *at* does not hold any more."""
        return self.retired_at is not None and at > self.retired_at

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether the owner of the key signed *message*."""
        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def pem(self) -> bytes:
        """The key in PEM, under a line with its date if it is retired (RFC 7468 lets text stand before it)."""
        key = self._public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if self.retired_at is None:
            return key
        return (
            f"Retired: {datetime.fromtimestamp(int(self.retired_at), UTC):%Y-%m-%dT%H:%M:%SZ}\n".encode()
            + key
        )


class SigningKey:
    """The private key of a recorder; it prints as its id."""

    __slots__ = ("_private", "verify_key")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verify_key = VerifyKey(private.public_key())

    @property
    def id(self) -> str:
        return self.verify_key.id

    def __repr__(self) -> str:
        return f"SigningKey({self.id})"

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key that stands in no file."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def create(cls, path: Path) -> SigningKey:
        """Make a key and write it to *path* and its public half beside it; refuse to replace one."""
        key = cls.generate()
        try:
            _write_new(path, key.private_pem(), 0o600)
            _write_new(public_path(path), key.verify_key.pem(), 0o644)
        except FileExistsError as error:
            raise RecorderKeyError(
                f"{error.filename} exists already.",
                hint="A new key must not overwrite an old one: move it away first.",
            ) from error
        except OSError as error:
            raise RecorderKeyError(
                f"The recorder's signing key {path} cannot be written: {error.strerror}."
            ) from error
        return key

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a key, and refuse one that others could have read."""
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                content = file.read()
        except OSError as error:
            raise RecorderKeyError(
                f"The recorder's signing key {path} cannot be read: {error.strerror}."
            ) from error
        if mode & 0o077:
            raise RecorderKeyError(
                f"The recorder's signing key {path} can be read by others (mode {mode:04o}).",
                hint=f"chmod 600 {path}",
            )
        try:
            key = serialization.load_pem_private_key(content, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise RecorderKeyError(
                f"{path} is not an Ed25519 private key in PEM (PKCS #8, without a password)."
            )
        return cls(key)

    def private_pem(self) -> bytes:
        """The private key itself, as its file holds it."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


def public_path(path: Path) -> Path:
    """Where the public half of the signing key at *path* stands."""
    return path.with_name(path.name + ".pub")


def published_keys(private: Path) -> list[VerifyKey]:
    """The public keys beside the *private* key file: the present one, and retired ones under longer names."""
    own = public_path(private)
    keys = [VerifyKey.load(file) for file in sorted(own.parent.glob(f"{private.name}*.pub")) or [own]]
    return list(by_id(keys).values())


def by_id(keys: Iterable[VerifyKey]) -> dict[str, VerifyKey]:
    """*keys* by their ids; of the same key with and without a date, or with two, the one that holds for less long."""
    longest_first = sorted(
        keys, key=lambda key: math.inf if key.retired_at is None else key.retired_at, reverse=True
    )
    return {key.id: key for key in longest_first}


def _retirement(path: Path, content: bytes) -> float | None:
    if (line := _RETIRED.search(content.partition(b"-----BEGIN")[0])) is None:
        return None
    try:
        return datetime.strptime(line[1].decode(), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise RecorderKeyError(
            f"The date in {path} from which the key is retired cannot be read.",
            hint="Write it as Retired: 2026-11-24T10:00:00Z, or take the file anew from the bastion.",
        ) from None


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
