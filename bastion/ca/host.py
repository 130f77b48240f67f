"""The bastion's own host key and the certificates for it, kept in files beside each other and renewed by themselves.

One is for the bastion's name. A client that jumps to a target is shown one for the target's name, over the same key:
it is the same server that answers, and whoever knows it by its fingerprint knows it there too.

The certificate is a file so that after a rotation of the host CA the old one can go on being presented, though the
key that signed it is gone; and so that `ssh-keygen -L` shows what people's clients see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncssh
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertPublicKeyTypes,
    load_ssh_public_identity,
)

from bastion.ca.certificates import Fields, Kind, Signer, sign_certificate
from bastion.ca.keys import HOST_KEY, public_line, read_key
from bastion.errors import KeyFileError
from bastion.runtime.files import replace_file
from bastion.state.ca_keys import CaKey
from bastion.state.grants import BACKDATED

_EARLIEST_CHANGE = 3600.0
"""Seconds before the end of a certificate under an old CA key by which the next one takes its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostIdentity:
    """What the bastion shows its clients. *renew_at*, in Unix seconds, is when another certificate is due."""

    key: asyncssh.SSHKey
    certificate: asyncssh.SSHCertificate
    renew_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A certificate that was read. Keys are OpenSSH lines; asyncssh shows neither principals nor dates."""

    certificate: asyncssh.SSHCertificate
    key: str
    ca: str
    principals: list[bytes]
    valid_after: int
    valid_before: int


async def host_identity(
    folder: Path,
    names: Sequence[str],
    keys: Sequence[CaKey],
    signer: Signer,
    lifetime: timedelta,
    now: float,
    *,
    target: str = "",
) -> HostIdentity:
    """The host key with its certificate for *names*, made anew if that is due.

    *signer* holds the active one of the host *keys*; *target* names whom the bastion answers for, if not for itself.
    """
    key = read_key(folder / HOST_KEY)
    path = _path(folder, target)
    found = _read(path)
    wanted = [name.encode() for name in names]
    if found is not None and found.key == public_line(key) and found.principals == wanted:
        renew_at = _renew_at(found, keys)
        if now < renew_at:
            return HostIdentity(key=key, certificate=found.certificate, renew_at=renew_at)
    fields = Fields(
        kind=Kind.HOST,
        public_key=key,
        serial=0,
        key_id=f"bastion:{names[0]}",
        principals=tuple(names),  # OpenSSH compares the name alone, also for ports other than 22
        valid_after=int(now - BACKDATED.total_seconds()),
        valid_before=int(now + lifetime.total_seconds()),
    )
    certificate = await sign_certificate(fields, signer)
    replace_file(path, certificate.export_certificate(), mode=0o644)
    return HostIdentity(
        key=key, certificate=certificate, renew_at=_half_life(fields.valid_after, fields.valid_before)
    )


def last_use_of_host_certificate(folder: Path, now: float) -> float:
    """Until when the present host certificate can be shown, with a little time left to change to the next."""
    found = _read(_path(folder))
    if found is None:
        return now
    margin = min(_EARLIEST_CHANGE, (found.valid_before - found.valid_after) / 10)
    return max(now, found.valid_before - margin)


def host_certificate_is_under(key: CaKey, folder: Path, now: float) -> bool:
    """Whether the host certificate in use was signed by *key*."""
    found = _read(_path(folder))
    return found is not None and found.ca == key.public and now < found.valid_before


def _path(folder: Path, target: str = "") -> Path:
    return folder / (f"{HOST_KEY}-for-{target}-cert.pub" if target else f"{HOST_KEY}-cert.pub")


def _read(path: Path) -> _Found | None:
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        certificate = asyncssh.import_certificate(content)
        fields = load_ssh_public_identity(content)
    except (asyncssh.KeyImportError, ValueError) as error:
        raise KeyFileError(
            f"{path} holds no certificate: {error}.", hint="Delete it; the next start makes a new one."
        ) from error
    assert isinstance(fields, SSHCertificate)
    return _Found(
        certificate=certificate,
        key=_line(fields.public_key()),
        ca=_line(fields.signature_key()),
        principals=fields.valid_principals,
        valid_after=fields.valid_after,
        valid_before=fields.valid_before,
    )


def _line(key: SSHCertPublicKeyTypes) -> str:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _renew_at(found: _Found, keys: Sequence[CaKey]) -> float:
    """At half of its life under the active key, as late as can be under an older one, at once under any other."""
    for key in keys:
        if key.public == found.ca and key.status == "active":
            return _half_life(found.valid_after, found.valid_before)
        if key.public == found.ca and key.status == "trusted" and key.trusted_until is not None:
            return min(key.trusted_until, found.valid_before)
    return 0.0


def _half_life(valid_after: int, valid_before: int) -> float:
    return (valid_after + valid_before) / 2
