"""What every connection has that channels come in by, the client's own and those that jump through it.

It owns the TaskGroup its channels run in, and refuses whatever it does not know how to record. Who the person is and
where their channels go, the two kinds of connection know.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Coroutine
from typing import Any, cast

import asyncssh

from bastion.identity.person import Person
from bastion.kubectl.access import Access
from bastion.relay.forwarding import Listening
from bastion.sessions.session import Client
from bastion.ssh.door import serve_channel
from bastion.ssh.forwards import Forwards, Through
from bastion.ssh.front import Front
from bastion.transport.endpoint import ClientEnd, TcpEnd
from bastion.transport.hooks import ServerConnection
from policy.forwarding import End, listening_end


class ServedConnection(asyncssh.SSHServer):
    """The server side of a connection; `live` runs for as long as it lasts."""

    target: str | None = None

    def __init__(self, front: Front) -> None:
        self._front = front
        self.lost = asyncio.Event()
        self.clusters: dict[str, Access] = {}
        self._group: asyncio.TaskGroup | None = None
        self.forwards = Forwards(front, self)
        self.username = ""
        self.client = Client(address="", port=0)

    @property
    @abstractmethod
    def person(self) -> Person | None:
        """Who was let in; None for somebody who only proved a key."""

    @property
    @abstractmethod
    def proven_key(self) -> asyncssh.SSHKey | None:
        """The key whose possession the client proved, if any."""

    @abstractmethod
    def through(self, person: Person) -> Through | None:
        """The target that its forwardings are for, if it is for one that *person* may know."""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._conn = cast(ServerConnection, conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    async def live(self) -> None:
        """Run the channels of the connection until it is lost and they have ended."""
        try:
            async with asyncio.TaskGroup() as self._group:
                await self.lost.wait()
        finally:
            self._conn.abort()

    def session_requested(self) -> tuple[asyncssh.SSHServerChannel[bytes], ClientEnd]:
        return self._conn.session_channel(), ClientEnd(self._started)

    def _started(self, channel: ClientEnd) -> None:
        self.serve(serve_channel(channel, self, self._front))

    # Forwarding: what policy does not grant is refused by `forwards`

    def unix_connection_requested(
        self, dest_path: str
    ) -> tuple[asyncssh.SSHUNIXChannel[bytes], Awaitable[asyncssh.SSHUNIXSession[bytes]]]:
        stream = self.forwards.connect(End(path=dest_path), ("", 0))
        return self._conn.unix_channel(), cast("Awaitable[asyncssh.SSHUNIXSession[bytes]]", stream)

    async def server_requested(self, listen_host: str, listen_port: int) -> Listening | bool:
        async def open_back(asked: TcpEnd, bound: End, origin: tuple[str, int]) -> None:
            await self._conn.create_connection(lambda: asked, listen_host, bound.port, *origin)

        end = listening_end(listen_host, listen_port)
        return await self.forwards.listen(end, listen_host, open_back) or False

    async def unix_server_requested(self, listen_path: str) -> Listening | bool:
        async def open_back(asked: Any, bound: End, origin: tuple[str, int]) -> None:
            await self._conn.create_unix_connection(lambda: asked, bound.path)

        return await self.forwards.listen(End(path=listen_path), "", open_back) or False

    def say(self, text: str) -> None:
        """Tell the person something, if their client shows it (OpenSSH does with -v)."""
        self._conn.send_debug(text, always_display=True)

    def serve(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work*, which serves a channel of this connection, no longer than the connection lasts."""
        assert self._group is not None
        self._group.create_task(work)


def prohibited(reason: str) -> asyncssh.ChannelOpenError:
    """The refusal of a channel, as a client of ours gets it."""
    return asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, reason)
