"""How the CA keys stand, for whoever runs the bastion. Reads the state and public files only; needs no private key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import asyncssh

from bastion.ca.host import host_certificate_is_under
from bastion.state.ca_keys import CaKey, CaKeyId
from bastion.state.store import State


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """How one CA key stands. *certificates* counts those alive; None for those that nobody counts."""

    key: CaKey
    fingerprint: str
    is_trusted: bool
    certificates: int | None


async def key_status(folder: Path, state: State, now: float) -> list[KeyStatus]:
    """How every key stands that ever was, newest first; needs no private key."""
    live = await state.ca_keys.count_live()
    return [
        KeyStatus(
            key=key,
            fingerprint=asyncssh.import_public_key(key.public).get_fingerprint(),
            is_trusted=key.is_trusted(now),
            certificates=_live_certificates(key, live, folder, now),
        )
        for key in await state.ca_keys.list()
    ]


def _live_certificates(key: CaKey, live: dict[CaKeyId, int], folder: Path, now: float) -> int | None:
    match key.authority:
        case "user":
            return live.get(key.id, 0)
        case "host":
            return int(host_certificate_is_under(key, folder, now))
        case "target" | "tls":
            return None
