"""Locks: a locked user gets in by no way, however they sign in, until the lock ends or is taken off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bastion.state.database import Database, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One lock; times in Unix seconds, *until* None for one that only `unlock` ends."""

    user: str
    reason: str
    locked_by: str
    locked_at: float
    until: float | None = None

    def is_active(self, now: float) -> bool:
        return self.until is None or now < self.until


class Locks:
    """The table of locks."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def lock(self, user: str, *, reason: str, by: str, until: float | None = None) -> Lock:
        """Lock *user*; a lock that is there already is replaced."""
        lock = Lock(user=user, reason=reason, locked_by=by, locked_at=self._now(), until=until)
        await self._database.fetch(
            "INSERT OR REPLACE INTO locks (user, reason, locked_by, locked_at, until) VALUES (?, ?, ?, ?, ?)",
            *(lock.user, lock.reason, lock.locked_by, lock.locked_at, lock.until),
        )
        return lock

    async def unlock(self, user: str) -> bool:
        """Take the lock off; false when there was none."""
        return bool(await self._database.fetch("DELETE FROM locks WHERE user = ? RETURNING user", user))

    async def get(self, user: str) -> Lock | None:
        """The lock that holds now, or None."""
        row = await self._database.fetch_one(
            "SELECT * FROM locks WHERE user = ? AND (until IS NULL OR until > ?)", user, self._now()
        )
        return _lock(row) if row is not None else None

    async def list(self) -> list[Lock]:
        """All locks that hold now, by user."""
        rows = await self._database.fetch(
            "SELECT * FROM locks WHERE until IS NULL OR until > ? ORDER BY user", self._now()
        )
        return [_lock(row) for row in rows]


def _lock(row: Row) -> Lock:
    return Lock(**dict(row))
