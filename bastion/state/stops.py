"""Requests to end a session that runs, from a command to the server. Whoever takes one deletes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bastion.state.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One request: *message* is for the person in the session, *by* says who asked."""

    session: str
    message: str
    by: str


class Stops:
    """The table of requests."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def request(self, session: str, *, message: str, by: str) -> None:
        """Ask the server to end *session*; a request that is there already is replaced."""
        await self._database.fetch(
            "INSERT OR REPLACE INTO stops (session, message, requested_by, requested_at) VALUES (?, ?, ?, ?)",
            *(session, message, by, self._now()),
        )

    async def take(self) -> list[Stop]:
        """All requests there are; they are gone afterwards."""
        rows = await self._database.fetch("DELETE FROM stops RETURNING session, message, requested_by")
        return [Stop(session=row["session"], message=row["message"], by=row["requested_by"]) for row in rows]
