"""The tokens in kubeconfigs that were handed out: for which sign-in and which target each is. Only digests are kept.

A token shows that a request inside a person's SSH connection is that person's own, and not of somebody else who found
the forwarded port on their machine; it says nothing to whoever is outside of that connection.
"""

from __future__ import annotations

from collections.abc import Callable

from bastion.state.database import Database


class KubeconfigTokens:
    """The table of tokens."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def add(self, digest: str, *, serial: int, target: str, expires_at: float) -> None:
        """Keep a token for the sign-in with *serial*, until Unix time *expires_at*."""
        await self._database.fetch("DELETE FROM kubeconfig_tokens WHERE expires_at < ?", self._now())
        await self._database.fetch(
            "INSERT INTO kubeconfig_tokens (digest, serial, target, expires_at) VALUES (?, ?, ?, ?)",
            *(digest, serial, target, expires_at),
        )

    async def is_for(self, digest: str, *, serial: int, target: str) -> bool:
        """Whether this token was handed out to the sign-in with *serial* for *target*, and has not expired."""
        found = await self._database.fetch(
            "SELECT 1 FROM kubeconfig_tokens WHERE digest = ? AND serial = ? AND target = ? AND expires_at > ?",
            *(digest, serial, target, self._now()),
        )
        return bool(found)
