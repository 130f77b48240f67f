"""What is forwarded through one target, as one session: one onward connection, one recording, many connections.

It lives as long as the client's connection, unless it is stopped, its target goes, or the server is to stop and nothing
passes any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import asyncssh
import structlog

from bastion.connectors.connect import Connectors
from bastion.errors import SessionRefused, TargetError
from bastion.relay.connections import OPEN_TIMEOUT, Connections, Wanted
from bastion.relay.limits import Activity, watch_limits
from bastion.relay.relay import first_error, recording_failed
from bastion.relay.run import unless_stopped
from bastion.sessions.admission import Admission
from bastion.sessions.session import AdmittedSession, Outcome
from bastion.transport.endpoint import TcpEnd
from bastion.transport.hooks import ClientConnection
from bastion.transport.request import SessionRequest
from policy.forwarding import End
from recorder.errors import RecordingFailed
from recorder.events import ErrorOutput, Event

log = structlog.get_logger()

MOST_LISTENING = 64
ARRIVAL_TIMEOUT = 5.0
"""Seconds that the rest of connections has to arrive when one side is gone."""


OpenBack = Callable[[TcpEnd, End, tuple[str, int]], Awaitable[None]]
"""Opens a connection that came in at an end to the client. Raises asyncssh.ChannelOpenError."""


class Listening(asyncssh.SSHListener):
    """What a target listens for; the client may take it back."""

    def __init__(
        self, forwarding: Forwarding, inner: asyncssh.SSHListener, closed: Callable[[Listening], None]
    ) -> None:
        super().__init__()
        self._forwarding = forwarding
        self._inner = inner
        self._closed = closed

    def get_port(self) -> int:
        return self._inner.get_port()

    def close(self) -> None:
        self._closed(self)
        if not self._forwarding.is_over:  # else the target has forgotten it anyway
            self._inner.close()


class Forwarding:
    """A session of forwarded connections. *say* tells the person something, if their client shows it."""

    def __init__(self, session: AdmittedSession, admission: Admission, say: Callable[[str], None]) -> None:
        self.session = session
        self.is_over = False
        self._admission = admission
        self._say = say
        self._activity = Activity(asyncio.get_running_loop().time)
        self._connections = Connections(session, admission, self._activity)
        self._onward: ClientConnection | None = None
        self._listening: set[Listening] = set()

    async def live(
        self, connectors: Connectors, lost: asyncio.Event, ready: asyncio.Future[Forwarding]
    ) -> None:
        """Run until it is over, then seal the recording. *ready* is told when it can be used, or a TargetError."""
        outcome = Outcome(ending="failed")
        with structlog.contextvars.bound_contextvars(session=self.session.id):
            try:
                outcome = await self._open_and_pass(connectors, lost, ready)
            except TargetError as error:
                log.warning("target.refused", target=self.session.target.name, reason=error.message)
                outcome = Outcome(ending="target refused", message=str(error), exit_code=error.exit_code)
                if not ready.done():
                    ready.set_exception(error)
            finally:
                self.is_over = True
                if not ready.done():
                    ready.set_exception(SessionRefused("the session was ended"))
                await asyncio.shield(self._admission.end(self.session, outcome))

    async def _open_and_pass(
        self, connectors: Connectors, lost: asyncio.Event, ready: asyncio.Future[Forwarding]
    ) -> Outcome:
        async with AsyncExitStack() as stack:
            opening = stack.enter_async_context(connectors.open_forwarding(self.session))
            onward = await unless_stopped(self.session, opening)
            if onward is None:
                return self.session.stopped.result()
            self._onward = onward
            return await self._pass(onward, lost, ready)

    async def _pass(
        self, onward: ClientConnection, lost: asyncio.Event, ready: asyncio.Future[Forwarding]
    ) -> Outcome:
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group, self._connections.running():
                watching = group.create_task(watch_limits(self.session, self, self._activity))
                losing = group.create_task(lost.wait())
                leaving = group.create_task(onward.wait_closed())
                draining = group.create_task(self._drained())
                ready.set_result(self)
                ends: list[asyncio.Future[Any]] = [losing, leaving, draining, self.session.stopped]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                self.is_over = True
                if not self.session.stopped.done():
                    await self._let_arrive()
                for task in (watching, losing, leaving, draining):
                    task.cancel()
        except* RecordingFailed as failures:
            failure = first_error(failures)
        if failure is not None:
            return recording_failed(failure)
        if self.session.stopped.done():
            return self.session.stopped.result()
        if lost.is_set():
            return Outcome(ending="client disconnected")
        if self._admission.closed.is_set():
            return Outcome(ending="server stopped")
        return Outcome(
            ending="target disconnected", message=f"{self.session.target.name} closed the connection"
        )

    async def _let_arrive(self) -> None:
        """Let what one side sent before it went arrive at the other one."""
        try:
            await asyncio.wait_for(self._connections.wait_idle(), ARRIVAL_TIMEOUT)
        except TimeoutError:
            log.info("forwarding.cut-off")

    async def _drained(self) -> None:
        await self._admission.closed.wait()
        await self._connections.wait_idle()

    # What passes

    async def connect(self, end: End, origin: tuple[str, int]) -> TcpEnd:
        """The client's end of a new connection to *end*, as seen from the target. Raises asyncssh.ChannelOpenError."""
        onward = self._onward
        assert onward is not None

        async def open_onward(asked: TcpEnd) -> None:
            if end.path:
                await onward.create_unix_connection(lambda: asked, end.path)  # type: ignore[arg-type, return-value]
            else:
                await onward.create_connection(lambda: asked, end.host, end.port, *origin)

        return await self._connections.connect(
            Wanted(action="forward", end=end, origin=origin, open=open_onward)
        )

    async def listen(self, end: End, host: str, open_back: OpenBack) -> Listening:
        """Listen on the target, and pass what comes in to the client. Raises SessionRefused and TargetError.

        *host* is how the client wrote that of *end*: every address has several names.
        """
        onward = self._onward
        assert onward is not None
        await self._admission.check(self.session, "listen", end)
        if len(self._listening) >= MOST_LISTENING:
            raise SessionRefused(
                f"{self.session.target.name} listens at {MOST_LISTENING} ends for you already"
            )
        bound = end

        async def arrive(origin_host: str = "", origin_port: int = 0) -> TcpEnd:
            origin = (origin_host, origin_port)

            async def open_client(asked: TcpEnd) -> None:
                await open_back(asked, bound, origin)

            return await self._connections.connect(
                Wanted(action="listen", end=bound, origin=origin, open=open_client)
            )

        await self._connections.record("listening", str(end), {}, f"listening at {end}")
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                if end.path:
                    inner = await onward.create_unix_server(arrive, end.path)
                else:
                    inner = await onward.create_server(arrive, host, end.port)
        except TimeoutError:
            raise TargetError(f"{self.session.target.name} did not begin to listen at {end}") from None
        except (asyncssh.Error, OSError) as error:
            raise TargetError(f"{self.session.target.name} does not listen at {end}: {error}") from error
        if not end.path:
            bound = End(host=end.host, port=inner.get_port())
        listening = Listening(self, inner, self._listening.discard)
        self._listening.add(listening)
        return listening

    # What the clocks ask of a client

    @property
    def request(self) -> SessionRequest:
        return self.session.request

    def put(self, events: Sequence[Event]) -> bool:
        for event in events:
            if isinstance(event, ErrorOutput):
                self._say(event.data.decode())
        return True
