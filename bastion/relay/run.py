"""One session from its admission to its seal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol, TypeVar

import asyncssh
import structlog

from bastion.connectors.connect import TargetSide
from bastion.errors import SessionRefused, TargetError
from bastion.relay.client import ClientSide
from bastion.relay.connections import Connections, Wanted
from bastion.relay.limits import Activity
from bastion.relay.notice import notice, tell
from bastion.relay.relay import recording_failed, relay
from bastion.relay.sftp_gate import SftpGate
from bastion.sessions.admission import Admission
from bastion.sessions.session import AdmittedSession, Outcome
from bastion.transport.endpoint import ClientEnd, TargetEnd, TcpEnd
from bastion.transport.hooks import Visit, Visitors
from recorder.errors import RecordingFailed

log = structlog.get_logger()
T = TypeVar("T")


TELL_TIMEOUT = 5.0
"""Seconds that a client has to take our last words; one that reads nothing is cut off instead."""


class Opener(Protocol):
    """Opens the target's end of a session; mostly `Connectors` does."""

    def open(
        self, session: AdmittedSession, visitors: Visitors | None = None
    ) -> AbstractAsyncContextManager[TargetSide]:
        """The end, closed on leaving. Raises TargetError."""
        ...


async def run_session(
    session: AdmittedSession, client: ClientSide, admission: Admission, connectors: Opener
) -> Outcome:
    """Connect, relay, seal, and say what the person must know. The client's channel stays open."""
    with structlog.contextvars.bound_contextvars(session=session.id):
        try:
            outcome = await _connect_and_relay(session, client, admission, connectors)
        except BaseException:
            # Cancelled, or a bug: whatever it is, the recording deserves its seal before it goes on.
            await asyncio.shield(admission.end(session, Outcome(ending="failed")))
            raise
        if outcome.message:
            try:
                async with asyncio.timeout(TELL_TIMEOUT):
                    outcome = await _say_why(session, client, outcome)
            except TimeoutError:
                client.abort()
        return await admission.end(session, outcome)


async def _say_why(session: AdmittedSession, client: ClientSide, outcome: Outcome) -> Outcome:
    try:
        await tell(client, session, outcome.message)
        await client.deliver([])  # until there is room for it
    except RecordingFailed as failure:
        if outcome.ending != "recording failed":
            outcome = recording_failed(failure)
        # This one line cannot be recorded: it says that nothing can be.
        await client.deliver([notice(client, outcome.message)])
    return outcome


async def unless_stopped(session: AdmittedSession, work: Awaitable[T]) -> T | None:
    """Wait for *work*; None, and it is cancelled, when the session is stopped meanwhile: connecting may take long."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as patience:

            def hurry(_: asyncio.Future[Outcome]) -> None:
                patience.reschedule(loop.time())

            session.stopped.add_done_callback(hurry)
            try:
                return await work
            finally:
                session.stopped.remove_done_callback(hurry)
    except TimeoutError:
        if not session.stopped.done():
            raise
        return None


async def _connect_and_relay(
    session: AdmittedSession, client: ClientSide, admission: Admission, connectors: Opener
) -> Outcome:
    activity = Activity(asyncio.get_running_loop().time)
    beside = Connections(session, admission, activity, is_drawn=False)
    try:
        async with AsyncExitStack() as stack:
            opening = stack.enter_async_context(connectors.open(session, _visitors(session, client, beside)))
            target = await unless_stopped(session, opening)
            if target is None:
                return session.stopped.result()
            async with beside.running():
                return await relay(client, _held_to_rules(target, session), session, activity)
    except (TargetError, SessionRefused) as error:
        log.warning("target.refused", target=session.target.name, reason=error.message, hint=error.hint)
        return Outcome(ending="target refused", message=str(error), exit_code=error.exit_code)


def _visitors(session: AdmittedSession, client: ClientSide, beside: Connections) -> Visitors | None:
    """Who answers when programs on the target ask for the client's agent or screen, where rules grant them."""
    granted = {"agent": session.request.agent, "x11": session.request.x11 is not None}
    if not any(granted.values()) or not isinstance(client, ClientEnd):
        return None

    async def visit(kind: Visit, origin: tuple[str, int]) -> TcpEnd:
        if not granted[kind]:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "nobody asked for it")

        async def open_back(asked: TcpEnd) -> None:
            await client.open_back(asked, kind, origin)

        return await beside.connect(Wanted(action=kind, origin=origin, open=open_back))

    return visit


def _held_to_rules(target: TargetSide, session: AdmittedSession) -> TargetSide:
    """*target*, with a gate in front where rules do not let all files pass."""
    if session.copy is None or session.copy.protocol != "sftp" or session.copying.allows_all:
        return target
    assert isinstance(target, TargetEnd)  # of SSH targets alone
    return SftpGate(target, session.copying)
