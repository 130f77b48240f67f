"""One recorded session of a person's own kubectl on one cluster: many requests over many connections, one recording.

It begins with the first request inside an SSH connection, and ends with that connection, or a while after the last
answer. What is asked for is in the recording before it is asked of the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bastion.config.targets import KubernetesTarget
from bastion.connectors.kubernetes.cluster import Cluster, open_cluster_for
from bastion.kubectl.resource import ApiRequest
from bastion.relay.limits import Activity, watch_limits
from bastion.relay.relay import first_error, recording_failed
from bastion.runtime.logs import printable
from bastion.sessions.admission import Admission
from bastion.sessions.session import AdmittedSession, Outcome
from bastion.transport.request import SessionRequest
from recorder.errors import RecordingFailed
from recorder.events import ErrorOutput, Event, Happened, Output, Scalar

LINGER = 60.0
"""Seconds without a request after which a session ends: the commands of one piece of work are one session."""

_LONGEST_TARGET = 4096
"""Characters of a path with its parameters that are kept."""


@dataclass(slots=True)
class Answer:
    """What became of a request, told by whoever answers it."""

    status: int = 0
    size: int = 0
    note: str = ""


class ApiSession:
    """A session while it lives, and the `ClientSide` that its clocks speak to."""

    def __init__(self, session: AdmittedSession, target: KubernetesTarget, admission: Admission) -> None:
        self.session = session
        self._target = target
        self.over = asyncio.Event()
        self.outcome = Outcome(ending="failed")
        self._admission = admission
        self._activity = Activity(asyncio.get_running_loop().time)
        self._requests = 0
        self._changed = asyncio.Event()
        self._closing = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._cluster: Cluster | None = None
        self._numbers = iter(range(1, 1 << 62))
        self._said: list[str] = []

    # The life of the session

    async def live(self, lost: asyncio.Event) -> None:
        """Run until it is over: stopped, let go of, or its SSH connection is *lost*; then seal the recording."""
        try:
            self.outcome = await self._until_over(lost)
            self.over.set()
            while self._requests:
                await self._change()
        finally:
            self.over.set()
            await asyncio.shield(self._end())

    async def _end(self) -> None:
        try:
            await self._closing.aclose()
        finally:
            await self._admission.end(self.session, self.outcome)

    async def cluster(self) -> Cluster:
        """The cluster, open for as long as the session lives. Raises TargetError."""
        async with self._opening:
            if self._cluster is None:
                opening = open_cluster_for(self.session, self._target)
                self._cluster = await self._closing.enter_async_context(opening)
            return self._cluster

    async def _until_over(self, lost: asyncio.Event) -> Outcome:
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(watch_limits(self.session, self, self._activity))
                losing = group.create_task(lost.wait())
                lingering = group.create_task(self._let_go())
                waking = group.create_task(self._wake_when_closed())
                ends: list[asyncio.Future[Any]] = [losing, lingering, self.session.stopped]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in (watching, losing, lingering, waking):
                    task.cancel()
        except* RecordingFailed as failures:
            failure = first_error(failures)
        if failure is not None:
            return recording_failed(failure)
        if self.session.stopped.done():
            return self.session.stopped.result()
        return Outcome(ending="client disconnected")

    async def _let_go(self) -> None:
        """Return once nothing was asked for a while; at once when the server waits for its last sessions."""
        while True:
            while self._requests:
                await self._change()
            if self._admission.closed.is_set():
                return
            try:
                async with asyncio.timeout(LINGER):
                    await self._change()
            except TimeoutError:
                return

    async def _wake_when_closed(self) -> None:
        await self._admission.closed.wait()
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    # Requests

    @asynccontextmanager
    async def recorded(self, request: ApiRequest, more: Mapping[str, Scalar]) -> AsyncIterator[Answer]:
        """A request that is on record from here on, and with what became of it afterwards. Raises RecordingFailed.

        *more* are particulars to keep beside the usual ones.
        """
        number, started = next(self._numbers), self._activity.monotonic()
        answer = Answer()
        self._requests += 1
        self._changed.set()
        try:
            asked = Happened("request", str(request), {"id": number, **_facts(request), **more})
            await self._record([asked, *_drawn(f"{request} …" if _is_long(request) else "")])
            try:
                yield answer
            finally:
                seconds = round(self._activity.monotonic() - started, 3)
                facts = {"id": number, "status": answer.status, "bytes": answer.size, "seconds": seconds}
                text = f"{request}: {answer.status or 'unanswered'}"
                line = f"{request}  {answer.status or '-'}  {answer.size} B  {seconds:.2f} s  {answer.note}"
                await self._record(
                    [
                        Happened("end", text, facts | ({"note": answer.note} if answer.note else {})),
                        *_drawn(line.rstrip()),
                    ]
                )
        finally:
            self._requests -= 1
            self._changed.set()

    def touch(self) -> None:
        """Something happened: the session is not idle."""
        self._activity.touch()

    async def _record(self, events: Sequence[Event]) -> None:
        self.touch()
        try:
            await self.session.recording.append(events)
        except RecordingFailed as failure:
            self.session.stop(recording_failed(failure))
            raise

    # What the clocks ask of a client: words for the person go along with the next answer

    @property
    def request(self) -> SessionRequest:
        return self.session.request

    def put(self, events: Sequence[Event]) -> bool:
        self._said += [event.data.decode().strip() for event in events if isinstance(event, ErrorOutput)]
        return True

    def warnings(self) -> list[tuple[str, str]]:
        """Headers with what the person is to be told; kubectl shows them (RFC 7234 section 5.5)."""
        said, self._said = self._said, []
        return [("Warning", f'299 - "{text}"') for text in said if text.isascii() and '"' not in text]


def _facts(request: ApiRequest) -> dict[str, Scalar]:
    return {
        "verb": request.verb,
        "resource": request.kind,
        "name": request.name,
        "namespace": request.namespace,
        "method": request.method,
        "target": request.target[:_LONGEST_TARGET],
    }


def _is_long(request: ApiRequest) -> bool:
    """Whether its answer may last: a line at its end alone would come late."""
    return request.verb == "watch" or request.subresource in ("log", "exec", "attach", "portforward", "proxy")


def _drawn(line: str) -> list[Event]:
    return [Output(f"{printable(line)}\n".encode())] if line else []
