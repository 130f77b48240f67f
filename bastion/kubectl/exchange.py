"""One request that a person may make, from its record to the last byte of its answer.

Answers pass as they come and are never held as a whole: who reads slowly slows the cluster down. An answer that cannot
be finished is cut off, so that nobody takes a part for the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from bastion.errors import TargetError
from bastion.kubectl.headers import passed_back, passed_on
from bastion.kubectl.http import Conversation, Head, Refused
from bastion.kubectl.resource import ApiRequest
from bastion.kubectl.session import Answer, ApiSession
from bastion.kubectl.status import Refusal
from bastion.transport.tls import TlsEnd
from recorder.events import Scalar

log = structlog.get_logger()

_CHANGES = ("create", "update", "patch")
_NEVER_KEPT = ("secrets", "tokenreviews")
_TEXTS = frozenset({
    "application/apply-patch+yaml", "application/json", "application/json-patch+json", "application/merge-patch+json",
    "application/strategic-merge-patch+json", "application/yaml",
})  # fmt: skip
_LONGEST_BODY = 256 * 1024
"""Bytes of a body that are kept of a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request that is on record, and whom it came from."""

    conversation: Conversation
    tls: TlsEnd
    head: Head
    request: ApiRequest
    body: bytes
    session: ApiSession
    answer: Answer

    async def forward(self) -> None:
        """Ask the cluster, and pass its answer on. Raises Refused, or ConnectionError where an answer breaks off."""
        if not await self.while_wanted(self._ask):
            self.answer.note = "cut off" if self.session.over.is_set() else "the client left"
            raise ConnectionAbortedError(self.answer.note)

    async def _ask(self) -> None:
        request, answer = self.request, self.answer
        has_begun = False
        try:
            cluster = await self.session.cluster()
            asking = cluster.request(request.method, request.target, passed_on(self.head), self.body)
            async with asking as response:
                if response.status == 401:  # not the person's credential: the bastion's own
                    log.error("cluster.credential-refused", target=cluster.name)
                    raise TargetError(f"{cluster.name} does not let the bastion in")
                answer.status = response.status
                headers = [*passed_back(response.headers), *self.session.warnings()]
                await self.conversation.begin(response.status, headers)
                has_begun = True
                async for piece in response.pieces():
                    answer.size += len(piece)
                    self.session.touch()
                    await self.conversation.send(piece)
                await self.conversation.end()
        except TargetError as error:
            answer.note = error.message
            if has_begun:
                raise ConnectionAbortedError(error.message) from error
            raise Refused(Refusal(502, error.message)) from error

    async def while_wanted(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do *work* while client and session are there; false, and it is cancelled, once one of them is not."""
        failure: Exception | None = None

        async def caught() -> None:  # expected errors as values, which a TaskGroup does not wrap
            nonlocal failure
            try:
                await work()
            except (Refused, ConnectionError) as error:
                failure = error

        async with asyncio.TaskGroup() as group:
            working = group.create_task(caught())
            leaving = group.create_task(self.conversation.client_gone())
            ending = group.create_task(self.session.over.wait())
            tasks: list[asyncio.Task[object]] = [working, leaving, ending]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            is_done = working.done()
            for task in tasks:
                task.cancel()
        if failure is not None:
            raise failure
        return is_done


def particulars(head: Head, request: ApiRequest, body: bytes, *, keeps_bodies: bool) -> dict[str, Scalar]:
    """What is recorded of a request beside what it is about: who sent it and, of a change, what it is to be."""
    facts: dict[str, Scalar] = {"agent": head.get("user-agent")[:200]}
    if not body:
        return facts
    facts["sent"] = len(body)
    if keeps_bodies and request.verb in _CHANGES and request.resource not in _NEVER_KEPT:
        kind = head.get("content-type").partition(";")[0].strip().lower()
        if kind in _TEXTS and len(body) <= _LONGEST_BODY:
            facts["body"] = body.decode(errors="replace")
    return facts
