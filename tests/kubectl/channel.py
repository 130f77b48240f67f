"""A channel of SSH as far as `TcpEnd` sees one, over a TCP connection: for clients that are tested without SSH."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from bastion.transport.endpoint import TcpEnd


class SocketChannel(asyncio.Protocol):
    """One connection; *serve* is given the end of it."""

    def __init__(self, serve: Callable[[TcpEnd], Awaitable[None]], tasks: set[asyncio.Task[None]]) -> None:
        self._serve = serve
        self._tasks = tasks
        self._end = TcpEnd()
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._end.connection_made(cast(Any, self))
        task = asyncio.get_running_loop().create_task(self._run())
        self._tasks.add(task)

    async def _run(self) -> None:
        await self._serve(self._end)

    def data_received(self, data: bytes) -> None:
        self._end.data_received(data, None)

    def eof_received(self) -> bool:
        return self._end.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
        self._end.connection_lost(exc)

    def pause_writing(self) -> None:
        self._end.pause_writing()

    def resume_writing(self) -> None:
        self._end.resume_writing()

    # What TcpEnd asks of a channel

    def write(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise BrokenPipeError
        self._transport.write(data)

    def write_eof(self) -> None:
        self._transport.write_eof()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    async def wait_closed(self) -> None:
        await self._closed.wait()
