"""ID tokens that were used, so that none is used twice. Only digests are kept, and only until the token expires."""

from __future__ import annotations

from collections.abc import Callable

from bastion.state.database import Database


class Tokens:
    """The table of used tokens."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def use(self, digest: str, expires_at: float) -> bool:
        """Mark a token as used; false when it was used before. *expires_at* is when the verifier refuses it anyway."""
        await self._database.fetch("DELETE FROM used_tokens WHERE expires_at < ?", self._now())
        return bool(
            await self._database.fetch(
                "INSERT INTO used_tokens (digest, expires_at) VALUES (?, ?)"
                " ON CONFLICT (digest) DO NOTHING RETURNING digest",
                *(digest, expires_at),
            )
        )
