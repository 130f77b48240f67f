"""Keys to cancel statements with: what clients are given instead of the server's own, and whose they are."""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass

from bastion.config.targets import PostgresAccount, PostgresTarget
from bastion.connectors.postgres.server import send_cancel

_PROCESSES = 1 << 31
"""Process ids are below; drivers take them for signed numbers of 32 bits, and show them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellable:
    """A connection whose statements can be cancelled by whoever came in by the sign-in *serial*."""

    serial: int
    target: PostgresTarget
    account: PostgresAccount
    key: bytes


class CancelKeys:
    """The keys of all connections there are."""

    def __init__(self) -> None:
        self._known: dict[bytes, Cancellable] = {}

    def add(self, connection: Cancellable) -> bytes:
        """A key of ours for *connection*: 8 bytes, a process id and a number, as protocol 3.0 has them."""
        key = struct.pack("!I", 1 + secrets.randbelow(_PROCESSES - 1)) + secrets.token_bytes(4)
        self._known[key] = connection
        return key

    def remove(self, key: bytes) -> None:
        self._known.pop(key, None)

    async def cancel(self, key: bytes, serial: int) -> None:
        """Cancel what runs in the connection that has *key*, if it is one of that sign-in. Raises TargetError."""
        found = self._known.get(key)
        if found is not None and found.serial == serial:
            await send_cancel(found.target, found.account, found.key)
