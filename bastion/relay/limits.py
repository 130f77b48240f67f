"""The clocks of a session: idle time, longest duration, the end of the person's sign-in, and that of the server.

Each end that comes is announced, and then asked for through `AdmittedSession.stop`. An expired sign-in ends no session
that runs; the person is told that it opens no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from bastion.relay.client import Listener
from bastion.relay.notice import tell
from bastion.sessions.session import AdmittedSession, Outcome
from policy.durations import format_duration

TIMED_OUT_EXIT_CODE = 77


@dataclass(slots=True)
class Activity:
    """When something last happened in a session, on the clock of the event loop (seconds)."""

    monotonic: Callable[[], float]
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.touch()

    def touch(self) -> None:
        self.last = self.monotonic()


async def watch_limits(session: AdmittedSession, client: Listener, activity: Activity) -> None:
    """Run the clocks of *session* until it is over. Raises RecordingFailed."""
    limits, warning = session.limits, session.warning.total_seconds()
    async with asyncio.TaskGroup() as group:
        group.create_task(_tell_of_expiry(session, client))
        group.create_task(_tell_of_draining(session, client))
        if limits.max_duration is not None:
            group.create_task(_end_after(session, client, limits.max_duration, warning))
        if limits.idle_timeout is not None:
            group.create_task(_end_when_idle(session, client, activity, limits.idle_timeout, warning))


async def _tell_of_expiry(session: AdmittedSession, client: Listener) -> None:
    await asyncio.sleep(max(0.0, session.person.expires_at - session.started_at))
    await tell(
        client, session, "your sign-in has expired: this session goes on, new ones need another sign-in"
    )


async def _tell_of_draining(session: AdmittedSession, client: Listener) -> None:
    left = await asyncio.shield(session.draining)
    if left:
        await tell(
            client, session, f"the bastion is being stopped: this session ends in {format_duration(left)}"
        )


async def _end_after(session: AdmittedSession, client: Listener, longest: timedelta, warning: float) -> None:
    seconds = longest.total_seconds()
    lead = min(warning, seconds / 2)
    await asyncio.sleep(seconds - lead)
    await tell(client, session, f"this session reaches its longest duration and ends in {lead:.0f} s")
    await asyncio.sleep(lead)
    _stop(session, "time limit", f"sessions here last {format_duration(longest)} at most")


async def _end_when_idle(
    session: AdmittedSession, client: Listener, activity: Activity, longest: timedelta, warning: float
) -> None:
    seconds = longest.total_seconds()
    lead = min(warning, seconds / 2)
    while True:
        await _until_idle(activity, seconds - lead)
        silent_since = activity.last
        await tell(
            client, session, f"nothing happens here: this session ends in {lead:.0f} s unless something does"
        )
        await asyncio.sleep(lead)
        if activity.last == silent_since:
            _stop(session, "idle", f"nothing happened for {format_duration(longest)}")
            return


async def _until_idle(activity: Activity, seconds: float) -> None:
    # Not an event at each byte, which would cost something at each byte: a look when it could be over.
    while (left := activity.last + seconds - activity.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(left)


def _stop(session: AdmittedSession, ending: str, message: str) -> None:
    session.stop(Outcome(ending=ending, message=message, exit_code=TIMED_OUT_EXIT_CODE))
