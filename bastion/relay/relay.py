"""The corridor: read, record, write, in both directions.

`_pump` is the promise of this product in three lines. There is no queue between recording and writing, and no way
around: what is not in the recording is not delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from bastion.connectors.connect import TargetSide
from bastion.errors import TargetError
from bastion.relay.client import ClientSide
from bastion.relay.files import account_of
from bastion.relay.limits import Activity, watch_limits
from bastion.sessions.session import AdmittedSession, Outcome
from recorder.errors import RecordingFailed
from recorder.events import Event, Exited, Killed
from recorder.journal import Recording


async def _pump(
    source: ClientSide | TargetSide,
    recording: Recording,
    sink: ClientSide | TargetSide,
    activity: Activity,
    account: Callable[[Sequence[Event]], Sequence[Event]],
) -> None:
    """Relay until *source* is gone. Raises RecordingFailed, and then nothing unrecorded was delivered."""
    while events := await source.receive():
        await recording.append(account(events))
        await sink.deliver(events)
        activity.touch()


async def relay(
    client: ClientSide, target: TargetSide, session: AdmittedSession, activity: Activity
) -> Outcome:
    """Relay a session until one side is gone, it is stopped from outside, or its recording fails."""
    failure: BaseException | None = None
    account = account_of(session.copy, keep_contents=session.keeps_contents)
    recording = session.recording
    target_ended = False
    try:
        async with asyncio.TaskGroup() as group:
            upward = group.create_task(_pump(client, recording, target, activity, account.upward))
            downward = group.create_task(_pump(target, recording, client, activity, account.downward))
            watching = group.create_task(watch_limits(session, client, activity))
            ends: list[asyncio.Future[Any]] = [upward, downward, session.stopped]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            target_ended = downward.done()
            upward.cancel()
            downward.cancel()
            watching.cancel()
        await recording.append(account.end())
    except* (RecordingFailed, TargetError) as failures:
        failure = first_error(failures)
    if isinstance(failure, TargetError):
        return Outcome(ending="target refused", message=str(failure), exit_code=failure.exit_code)
    if failure is not None:
        return recording_failed(failure)
    if session.stopped.done():
        return session.stopped.result()
    if not target_ended:
        return Outcome(ending="client disconnected")
    match target.exit:
        case Exited():
            return Outcome(ending="exited", exit=target.exit)
        case Killed():
            return Outcome(ending="killed", exit=target.exit)
        case None:
            return Outcome(
                ending="target disconnected", message=f"{session.target.name} closed the connection"
            )


def first_error(error: BaseException) -> BaseException:
    """The first error of a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def recording_failed(error: BaseException) -> Outcome:
    """The outcome of a session whose recording cannot be written."""
    return Outcome(
        ending="recording failed",
        message=f"the recording of this session cannot be written, so it ends: {error}",
        exit_code=74,
    )
