"""Does a person's sign-in still stand? Asked whenever a channel opens, and while sessions live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from bastion.sessions.session import LiveSessions, Outcome
from bastion.state.grants import grant_problem
from bastion.state.store import State

log = structlog.get_logger()

REVOKED_EXIT_CODE = 77


class Standing:
    """Looks grants and locks up in the state. *now* gives Unix seconds."""

    def __init__(self, state: State, now: Callable[[], float]) -> None:
        self._state = state
        self._now = now
        self._change = asyncio.Event()

    async def problem(self, serial: int) -> str | None:
        """Why the sign-in with this serial does not stand (fit for the person), or None if it does."""
        grant = await self._state.grants.get(serial)
        lock = await self._state.locks.get(grant.user) if grant is not None else None
        return grant_problem(grant, self._now(), lock)

    async def withdrawn(self, serial: int) -> str | None:
        """As `problem`, but a sign-in that merely expired does not count: running sessions outlive it."""
        grant = await self._state.grants.get(serial)
        lock = await self._state.locks.get(grant.user) if grant is not None else None
        now = self._now() if grant is None else min(self._now(), grant.valid_before - 1)
        return grant_problem(grant, now, lock)

    async def until_withdrawn(self, serial: int) -> str:
        """Wait until the sign-in with this serial is revoked, or its user locked; says why."""
        while True:
            change = self._change
            if (problem := await self.withdrawn(serial)) is not None:
                return problem
            await change.wait()

    def changed(self) -> None:
        """Have those who wait look again."""
        self._change.set()
        self._change = asyncio.Event()


async def end_withdrawn_sessions(standing: Standing, live: LiveSessions) -> None:
    """End each live session whose person was revoked or locked, and what else they do here."""
    standing.changed()
    problems: dict[int, str | None] = {}
    for session in live.all():
        serial = session.person.serial
        if serial not in problems:
            problems[serial] = await standing.withdrawn(serial)
        if (problem := problems[serial]) is not None:
            log.warning("session.withdrawn", session=session.id, user=session.person.user, reason=problem)
            session.stop(Outcome(ending="revoked", message=problem, exit_code=REVOKED_EXIT_CODE))
