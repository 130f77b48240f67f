"""Legal holds: recordings that must not be removed, whatever the rules of retention say, until somebody lifts the hold.

A hold names one session, or people and targets by patterns; what is recorded later falls under it as well. Lifted
holds stay in the table: who asks years later is told who held what, and why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bastion.state.database import Database, Row
from policy.patterns import matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One hold; times in Unix seconds. *case* is what people call the matter, if anything."""

    id: int
    session: str | None
    user: str | None
    target: str | None
    reason: str
    case: str | None
    placed_by: str
    placed_at: float
    lifted_by: str | None = None
    lifted_at: float | None = None

    def covers(self, *, session: str, user: str, target: str) -> bool:
        """Whether it holds this recording; of several things named all must fit."""
        return (
            (self.session is None or self.session == session)
            and (self.user is None or matches(self.user, user))
            and (self.target is None or matches(self.target, target))
        )

    @property
    def scope(self) -> str:
        """What it holds, in words."""
        named = (("session", self.session), ("user", self.user), ("target", self.target))
        return ", ".join(f"{kind} {name}" for kind, name in named if name is not None)


class Holds:
    """The table of holds."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def place(
        self,
        *,
        reason: str,
        by: str,
        session: str | None = None,
        user: str | None = None,
        target: str | None = None,
        case: str | None = None,
    ) -> Hold:
        """Hold a session, or what fits the patterns of *user* and *target*; ValueError when nothing is named."""
        if session is None and user is None and target is None:
            raise ValueError("a hold names a session, a user or a target")
        row = await self._database.fetch_one(
            "INSERT INTO holds (session, user, target, reason, matter, placed_by, placed_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *",
            *(session, user, target, reason, case, by, self._now()),
        )
        assert row is not None
        return _hold(row)

    async def lift(self, hold: int, *, by: str) -> Hold | None:
        """End a hold; None when there is none of that number that still holds."""
        row = await self._database.fetch_one(
            "UPDATE holds SET lifted_by = ?, lifted_at = ? WHERE id = ? AND lifted_at IS NULL RETURNING *",
            *(by, self._now(), hold),
        )
        return _hold(row) if row is not None else None

    async def list(self, *, lifted: bool = False) -> list[Hold]:
        """The holds in force, oldest first; with *lifted* also those that are over."""
        rows = await self._database.fetch(
            "SELECT * FROM holds WHERE ? OR lifted_at IS NULL ORDER BY id", int(lifted)
        )
        return [_hold(row) for row in rows]

    @asynccontextmanager
    async def still(self) -> AsyncIterator[tuple[Hold, ...]]:
        """The holds in force; none is placed or lifted, by whatever process, before the block is left."""
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch("SELECT * FROM holds WHERE lifted_at IS NULL ORDER BY id")
            yield tuple(_hold(row) for row in rows)


def _hold(row: Row) -> Hold:
    fields = dict(row)
    matter = fields.pop("matter")  # CASE is a word of SQL
    return Hold(**fields, case=matter)
