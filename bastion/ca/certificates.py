"""An OpenSSH certificate from its fields and a signer (OpenSSH's PROTOCOL.certkeys).

The body is put together here, and not by a library, because asyncssh's generator signs only with a key that lies in
this process's memory, and cryptography's takes no FIDO keys. Its strings and integers are asyncssh's, and what was
signed is read back by asyncssh before it is given out. Knows nothing of authorities or the state.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol

import asyncssh
from asyncssh.packet import String, UInt32, UInt64
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from bastion.errors import SignInError
from bastion.transport.algorithms import MIN_RSA_BITS

Permit = Literal["permit-pty", "permit-port-forwarding", "permit-agent-forwarding", "permit-X11-forwarding"]
"""The extensions a certificate may carry; ~/.ssh/rc is never among them."""

_PRINCIPAL = re.compile(r"[A-Za-z0-9_.@+:/-]{1,255}")  # sshd splits lists at commas; logs show it as it is
_KEY_ID = re.compile(r"[!-~]{1,256}")
_SUBJECT_KEYS = re.compile(
    rb"ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
)


class Signer(Protocol):
    """Holds one CA key: in a file, and later behind an ssh-agent, PKCS#11 or a KMS."""

    @property
    def public_data(self) -> bytes:
        """The public key as an SSH blob."""
        ...

    async def sign(self, data: bytes) -> bytes:
        """The signature over *data* as an SSH blob: algorithm and signature, each a string."""
        ...


class Kind(IntEnum):
    """What a certificate is for."""

    USER = 1
    HOST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What a certificate is to say. Validity is in whole Unix seconds, from *valid_after* up to *valid_before*."""

    kind: Kind
    public_key: asyncssh.SSHKey
    serial: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    permits: frozenset[Permit] = frozenset()


async def sign_certificate(
    fields: Fields, signer: Signer, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> asyncssh.SSHCertificate:
    """The signed certificate; ValueError for fields that would make a dangerous one."""
    _check(fields)
    algorithm = _certificate_algorithm(fields.public_key.algorithm)
    body = b"".join(
        (
            String(algorithm),
            String(random_bytes(32)),  # a nonce, so that nobody can choose the text that is signed
            fields.public_key.public_data.removeprefix(String(fields.public_key.algorithm)),
            UInt64(fields.serial),
            UInt32(fields.kind),
            String(fields.key_id),
            String(b"".join(String(principal) for principal in fields.principals)),
            UInt64(fields.valid_after),
            UInt64(fields.valid_before),
            String(b""),  # critical options
            String(b"".join(String(name) + String(b"") for name in sorted(fields.permits))),
            String(b""),  # reserved
            String(signer.public_data),
        )
    )
    blob = body + String(await signer.sign(body))
    # Importing verifies the signature: a signer gone wrong is noticed here and not by the person's ssh.
    return asyncssh.import_certificate(b" ".join((algorithm, base64.b64encode(blob), fields.key_id.encode())))


def check_subject_key(key: asyncssh.SSHKey) -> None:
    """Raise SignInError for a person's public key that is too weak, or of a kind ssh no longer takes."""
    if not _SUBJECT_KEYS.fullmatch(key.algorithm):
        raise SignInError(
            f"Keys of the type {key.get_algorithm()} are not certified.",
            hint="Make another one: ssh-keygen -t ed25519",
        )
    if isinstance(rsa := key.convert_to_public().pyca_key, RSAPublicKey) and rsa.key_size < MIN_RSA_BITS:
        raise SignInError(
            f"This RSA key has {rsa.key_size} bits; at least {MIN_RSA_BITS} are needed.",
            hint="Make another one: ssh-keygen -t ed25519",
        )


def _check(fields: Fields) -> None:
    if not fields.principals:
        raise ValueError("a certificate without principals is valid for everybody")
    for principal in fields.principals:
        if not _PRINCIPAL.fullmatch(principal):
            raise ValueError(f"{principal!r} cannot be a principal")
    if not _KEY_ID.fullmatch(fields.key_id):
        raise ValueError(f"{fields.key_id!r} cannot be a key id")
    if not 0 <= fields.valid_after < fields.valid_before < 1 << 63:
        raise ValueError("a certificate must end, and after it begins")


def _certificate_algorithm(key_algorithm: bytes) -> bytes:
    name, _, domain = key_algorithm.partition(b"@")
    return name + b"-cert-v01@" + (domain or b"openssh.com")
