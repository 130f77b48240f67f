"""A session that may exist: admitted by policy, its recording open.

Connectors accept nothing else, so that there is no way to a target past the policy and the recorder.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from bastion.config.targets import Target
from bastion.identity.person import Person
from bastion.sessions.copying import Copy
from bastion.transport.request import SessionRequest
from policy.decide import Decision, Limits
from policy.files import Copying
from policy.rules import Action
from recorder.events import Exited, Killed
from recorder.journal import Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Where a person comes from: address and port of their connection, and the version their client announced."""

    address: str
    port: int
    version: str = ""

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a session ended. *ending* is the recorder's word for it; *message* is for the person, or empty.

    *exit_code* is what the client is told where the program itself gave no exit.
    """

    ending: str
    exit: Exited | Killed | None = None
    message: str = ""
    exit_code: int = 255

    @property
    def exit_status(self) -> int | None:
        return self.exit.status if isinstance(self.exit, Exited) else None

    @property
    def told(self) -> Exited | Killed:
        """What the client is told: the program's own ending, or our exit code."""
        return self.exit if self.exit is not None else Exited(self.exit_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedSession:
    """One recorded session of one person on one target. `stop` asks it to end; `stopped` resolves with the outcome.

    `draining` resolves with the time it has left when the server is to stop.

    *path* is what was named inside the target, *copy* how it copies files if it does. The rules that *decision* names
    may say more of what is allowed.
    """

    person: Person
    client: Client
    target: Target
    login: str
    action: Action
    path: str
    request: SessionRequest
    copy: Copy | None
    recording: Recording
    keeps_contents: bool
    decision: Decision
    limits: Limits
    warning: timedelta
    started_at: float
    stopped: asyncio.Future[Outcome] = field(repr=False)
    draining: asyncio.Future[timedelta] = field(repr=False)

    @property
    def id(self) -> str:
        return self.recording.id

    @property
    def copying(self) -> Copying:
        """How far the rules that let it in let files be copied."""
        return Copying.of([rule.files for rule in self.decision.granting])

    def stop(self, outcome: Outcome) -> None:
        """Ask the session to end with *outcome*; the first asker wins."""
        if not self.stopped.done():
            self.stopped.set_result(outcome)

    def drain(self, left: timedelta) -> None:
        """Say that the server stops, and ends the session when *left* is over."""
        if not self.draining.done():
            self.draining.set_result(left)


class LiveSessions:
    """The sessions that run now, by id."""

    def __init__(self) -> None:
        self._sessions: dict[str, AdmittedSession] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._sessions)

    def all(self) -> list[AdmittedSession]:
        return list(self._sessions.values())

    def add(self, session: AdmittedSession) -> None:
        self._sessions[session.id] = session
        self._idle.clear()

    def remove(self, session: AdmittedSession) -> None:
        self._sessions.pop(session.id, None)
        if not self._sessions:
            self._idle.set()

    async def wait_idle(self, timeout: float) -> bool:
        """Wait until none runs; false if some do after *timeout* seconds."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except TimeoutError:
            return False
        return True
