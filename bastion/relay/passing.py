"""One connection through the bastion: bytes both ways, each way ended by itself, until both are or one side is gone.

There is no queue here: a side that takes nothing holds up the other side of its own connection, and no other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from bastion.relay.limits import Activity
from bastion.transport.endpoint import TcpEnd
from recorder.errors import RecordingFailed
from recorder.events import Event, Input, InputEnded, Output, OutputEnded
from recorder.journal import Recording


@dataclass(slots=True)
class Passed:
    """Bytes that went from the client to the target, and back."""

    sent: int = 0
    received: int = 0


async def pass_between(
    client: TcpEnd, target: TcpEnd, passed: Passed, activity: Activity, recording: Recording | None
) -> None:
    """Pass bytes until the connection is over, and close both sides. Raises RecordingFailed.

    With a *recording*, each byte is in it before it is passed on.
    """
    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            up = group.create_task(_upward(client, target, passed, activity, recording))
            down = group.create_task(_downward(target, client, passed, activity, recording))
            leaving = [group.create_task(end.gone.wait()) for end in (client, target)]
            waiting: set[asyncio.Task[Any]] = {up, down, *leaving}
            # Who is gone takes nothing any more, but what they sent has still to arrive.
            while not ((up.done() and (down.done() or client.closed)) or (down.done() and target.closed)):
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in (up, down, *leaving):
                task.cancel()
    except* RecordingFailed as failures:
        failure = failures.exceptions[0]
    if failure is not None:
        raise failure
    async with asyncio.TaskGroup() as group:
        group.create_task(_close(client))
        group.create_task(_close(target))


async def _upward(
    client: TcpEnd, target: TcpEnd, passed: Passed, activity: Activity, recording: Recording | None
) -> None:
    async for event in _until_end(client):
        if recording is not None:
            await recording.append([event])
        await target.deliver([_turned(event)])
        activity.touch()
        passed.sent += len(event.data) if isinstance(event, Input) else 0


async def _downward(
    target: TcpEnd, client: TcpEnd, passed: Passed, activity: Activity, recording: Recording | None
) -> None:
    async for event in _until_end(target):
        turned = _turned(event)
        if recording is not None:
            await recording.append([turned])
        await client.deliver([turned])
        activity.touch()
        passed.received += len(event.data) if isinstance(event, Input) else 0


async def _until_end(source: TcpEnd) -> AsyncIterator[Event]:
    """What *source* sends, up to its end."""
    while events := await source.receive():
        for event in events:
            yield event
            if isinstance(event, InputEnded):
                return


def _turned(event: Event) -> Event:
    """What one side sent, as it is sent to the other one."""
    match event:
        case Input(data):
            return Output(data)
        case InputEnded():
            return OutputEnded()
        case _:
            raise AssertionError(f"{event} does not travel over a connection")


async def _close(end: TcpEnd) -> None:
    await end.drained()
    await end.close()
