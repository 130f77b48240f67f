"""The connections of one session that pass beside its streams: forwarded ones, and those to a person's agent or screen.

Each is on record before it is opened, and its end with what went through. Policy and standing are asked anew for each.
None waits for another one: a host that does not answer holds up nobody but whoever asked for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncssh
import structlog

from bastion.errors import BastionError, SessionRefused
from bastion.relay.limits import Activity
from bastion.relay.passing import Passed, pass_between
from bastion.relay.relay import recording_failed
from bastion.runtime.logs import printable
from bastion.sessions.admission import Admission
from bastion.sessions.session import AdmittedSession, Outcome
from bastion.transport.endpoint import TcpEnd
from policy.forwarding import End
from policy.rules import Action
from recorder.errors import RecordingFailed
from recorder.events import Event, Happened, Output, Scalar
from recorder.journal import Recording

log = structlog.get_logger()
T = TypeVar("T")

OPEN_TIMEOUT = 30.0
"""Seconds that a connection has to be opened; a target's own patience with a dead host is longer."""

CLOSED = "closed"
MOST = 256
"""Connections of one session at a time, whichever side asks for them; one that is being opened counts twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A connection that one side asks for. *end* is whereto (forward) or where it came in (listen).

    *open* opens the other side into the end that it is given. Raises asyncssh.Error or OSError.
    """

    action: Action
    origin: tuple[str, int]
    open: Callable[[TcpEnd], Awaitable[object]]
    end: End | None = None

    def __str__(self) -> str:
        return str(self.end) if self.end is not None else self.action


class Connections:
    """Opens connections of *session* and sees them through. `running` is its scope: leaving it ends them all."""

    def __init__(
        self, session: AdmittedSession, admission: Admission, activity: Activity, *, is_drawn: bool = True
    ) -> None:
        self._session = session
        self._admission = admission
        self._activity = activity
        self._is_drawn = is_drawn
        self._numbers = iter(range(1, 1 << 62))
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_running = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let connections be opened until the block is left; then end those there are, and put that on record."""
        async with asyncio.TaskGroup() as self._group:
            self._is_running = True
            try:
                yield
            finally:
                self._is_running = False
                for task in self._tasks:
                    task.cancel()

    async def wait_idle(self) -> None:
        """Return once there is no connection."""
        await self._idle.wait()

    async def connect(self, wanted: Wanted) -> TcpEnd:
        """The end for the side that asks, once the other side is open. Raises asyncssh.ChannelOpenError."""
        if not self._is_running:
            raise _not_opened("the session is over")
        if len(self._tasks) >= MOST:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "too many connections")
        opened: asyncio.Future[TcpEnd] = asyncio.get_running_loop().create_future()
        self._spawn(self._see_through(wanted, opened))
        return await opened

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        self._idle.clear()
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()

    async def _see_through(self, wanted: Wanted, opened: asyncio.Future[TcpEnd]) -> None:
        try:
            await self._admission.check(self._session, wanted.action, wanted.end)
            await self._recorded(wanted, opened)
        except SessionRefused as refusal:
            _tell(
                opened, asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, refusal.message)
            )
        except BastionError as error:
            log.error("connection.failed", reason=error.message, hint=error.hint)
        except RecordingFailed as failure:
            self._session.stop(recording_failed(failure))
        finally:
            _tell(opened, _not_opened("the session is over"))

    async def _recorded(self, wanted: Wanted, opened: asyncio.Future[TcpEnd]) -> None:
        """The connection between its two entries. Raises RecordingFailed, and then none is open."""
        number, began = next(self._numbers), self._activity.monotonic()
        passed, result = Passed(), "ended with the session"
        facts: dict[str, Scalar] = {"id": number, "way": wanted.action, "from": _origin(wanted.origin)}
        await self.record("connection", str(wanted), facts, f"{number}  {wanted} …")
        try:
            async with self._contents(wanted) as contents:
                result = await self._opened(wanted, opened, passed, contents)
        finally:
            seconds = round(self._activity.monotonic() - began, 3)
            facts |= {"sent": passed.sent, "received": passed.received, "seconds": seconds, "result": result}
            line = f"{number}  {wanted}  {passed.sent} B sent, {passed.received} B received, {seconds:.2f} s  {result}"
            await self.record("end", f"{wanted}: {result}", facts, line)

    async def _opened(
        self, wanted: Wanted, opened: asyncio.Future[TcpEnd], passed: Passed, contents: Recording | None
    ) -> str:
        """See the connection through; returns what became of it."""
        asking, asked = TcpEnd(), TcpEnd()
        try:
            # Not cancelled: nobody can take back the question to open a channel, and it may be answered late.
            opening = self._spawn(_error_of(wanted.open(asked)))
            done, _ = await asyncio.wait({opening}, timeout=OPEN_TIMEOUT)
            problem = opening.result() if done else f"no answer within {OPEN_TIMEOUT:g} s"
            if problem is not None:
                _tell(opened, _not_opened(f"{wanted}: {problem}"))
                return f"not opened: {problem}"
            if opened.done():
                return "given up"
            opened.set_result(asking)
            await asking.ready.wait()
            client, target = (asking, asked) if wanted.action == "forward" else (asked, asking)
            await pass_between(client, target, passed, self._activity, contents)
        finally:
            asking.abort()
            asked.abort()
        return CLOSED

    @asynccontextmanager
    async def _contents(self, wanted: Wanted) -> AsyncIterator[Recording | None]:
        """Where the contents of a connection go; it can be ended by itself, as a session."""
        if wanted.end is None or not self._session.keeps_contents:
            yield None
            return
        session = await self._admission.admit_connection(self._session, str(wanted))
        ending = Outcome(ending="failed")
        task = asyncio.current_task()
        assert task is not None
        stop = task.cancel
        session.stopped.add_done_callback(lambda _: stop())
        try:
            yield session.recording
            ending = Outcome(ending="exited")
        except asyncio.CancelledError:
            stopped = next((each.stopped for each in (session, self._session) if each.stopped.done()), None)
            ending = stopped.result() if stopped is not None else Outcome(ending="client disconnected")
            raise
        except RecordingFailed as failure:
            ending = recording_failed(failure)
            raise
        finally:
            await asyncio.shield(self._admission.end(session, ending))

    async def record(self, what: str, text: str, facts: Mapping[str, Scalar], line: str) -> None:
        """Put on record that something happened, and where that is watched, as a *line*. Raises RecordingFailed."""
        self._activity.touch()
        events: list[Event] = [Happened(what, text, dict(facts))]
        if self._is_drawn:
            events.append(Output(f"{printable(line)}\n".encode()))
        await self._session.recording.append(events)


def _origin(origin: tuple[str, int]) -> str:
    host, port = origin
    return str(End(host=host, port=port)) if host else ""


async def _error_of(opening: Awaitable[object]) -> str | None:
    """Why a channel was not opened; None if it was."""
    try:
        await opening
    except asyncssh.Error as error:
        return error.reason
    except OSError as error:
        return error.strerror or str(error)
    return None


def _not_opened(reason: str) -> asyncssh.ChannelOpenError:
    return asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, reason)


def _tell(opened: asyncio.Future[TcpEnd], error: asyncssh.ChannelOpenError) -> None:
    if not opened.done():
        opened.set_exception(error)
