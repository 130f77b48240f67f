"""Port-forward: a connection that the cluster and kubectl agree on between them, carried as it is.

What they speak inside is SPDY, bare or in a WebSocket (KEP-4006): the connections of a port-forward, interleaved. The
bastion does not take it apart. It is a session of its own, and its recording has all bytes of both directions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from bastion.config.targets import KubernetesTarget
from bastion.connectors.connect import TargetSide
from bastion.connectors.kubernetes.cluster import Answer, open_cluster_for
from bastion.connectors.kubernetes.refusals import refusal
from bastion.kubectl.headers import passed_on
from bastion.kubectl.http import Conversation, Head, Headers
from bastion.sessions.session import AdmittedSession
from bastion.transport.hooks import Visitors
from bastion.transport.request import SessionRequest
from bastion.transport.tls import TlsEnd
from recorder.events import Event, Exited, Input, Killed, Output

PORT_FORWARD = "pods/portforward"
UPGRADES = ("websocket", "spdy/3.1")
REQUEST = SessionRequest(kind="connection", command="port-forward")

_OF_UPGRADES = frozenset({
    "connection", "sec-websocket-accept", "sec-websocket-key", "sec-websocket-protocol", "sec-websocket-version",
    "upgrade", "x-stream-protocol-version",
})  # fmt: skip
"""Headers by which the two agree on what they will speak."""

_SWITCHED = 101


class TunnelEnd:
    """The `ClientSide` of one; *opener* knows what the cluster agreed to once it is asked for what the client sends."""

    request = REQUEST

    def __init__(
        self, conversation: Conversation, tls: TlsEnd, opener: TunnelOpener, touch: Callable[[], None]
    ) -> None:
        """*touch* is called whenever something passes."""
        self.is_open = False
        self._conversation = conversation
        self._tls = tls
        self._opener = opener
        self._touch = touch

    async def receive(self) -> list[Event]:
        data = b""
        if not self.is_open:
            self.is_open = True
            data = await self._conversation.switch(self._opener.agreed)
        data = data or await self._conversation.read()
        self._touch()
        return [Input(data)] if data else []

    async def deliver(self, events: Sequence[Event]) -> None:
        self._touch()
        await self._tls.write(b"".join(event.data for event in events if isinstance(event, Output)))

    def put(self, events: Sequence[Event]) -> bool:
        return True  # there is no place for words of ours

    def abort(self) -> None:
        self._tls.abort()


class _ClusterEnd:
    """The `TargetSide` of one."""

    exit: Exited | Killed | None = None

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def receive(self) -> list[Event]:
        data = await self._answer.receive()
        return [Output(data)] if data else []

    async def deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Input):
                await self._answer.send(event.data)


class TunnelOpener:
    """Asks *target* for what the client asked for by *head* (an `Opener`); *agreed* is what it agreed to."""

    def __init__(self, target: KubernetesTarget, head: Head) -> None:
        self.agreed: Headers = []
        self._target = target
        self._head = head

    @asynccontextmanager
    async def open(
        self, session: AdmittedSession, visitors: Visitors | None = None
    ) -> AsyncIterator[TargetSide]:
        headers = [*passed_on(self._head), *_of_upgrade(self._head.headers)]
        async with (
            open_cluster_for(session, self._target) as cluster,
            cluster.request(self._head.method, self._head.target, headers) as answer,
        ):
            if answer.status != _SWITCHED:
                raise refusal(cluster.name, answer.status, await answer.read())
            self.agreed = _of_upgrade(answer.headers)
            yield _ClusterEnd(answer)


def _of_upgrade(headers: Headers) -> Headers:
    return [(name, value) for name, value in headers if name.lower() in _OF_UPGRADES]
