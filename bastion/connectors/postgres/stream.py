"""Bytes to and from one side of a PostgreSQL connection, whatever carries them."""

from __future__ import annotations

import asyncio
import ssl
from typing import Protocol

from bastion.connectors.postgres.messages import LENGTH, Malformed
from bastion.transport.endpoint import TcpEnd
from bastion.transport.tls import TlsEnd
from recorder.events import Input, InputEnded, Output

CHUNK = 256 * 1024


class Stream(Protocol):
    """One side: bytes in as they come, bytes out at the other's own pace."""

    async def read(self) -> bytes:
        """Some bytes, or b"" once there are no more."""
        ...

    async def write(self, data: bytes) -> None:
        """Send *data*, and wait until more can be taken; a side that is gone takes everything."""
        ...

    async def close(self) -> None: ...


class SocketStream:
    """A socket of ours: the connection to a server, or that of a program in a box."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=CHUNK)

    async def read(self) -> bytes:
        try:
            return await self._reader.read(CHUNK)
        except (ConnectionError, ssl.SSLError):
            return b""

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (ConnectionError, ssl.SSLError):
            return  # whoever reads learns that it is gone

    async def end(self) -> None:
        """Say that there is no more to come; the other side may still speak."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:  # TLS has no half: the goodbye of the protocol itself must do
            self._writer.close()

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            return


class ChannelStream:
    """A channel of an SSH connection."""

    def __init__(self, end: TcpEnd) -> None:
        self.end = end
        self._is_ended = False

    async def read(self) -> bytes:
        while not self._is_ended:
            events = await self.end.receive()
            self._is_ended = not events or any(isinstance(event, InputEnded) for event in events)
            if data := b"".join(event.data for event in events if isinstance(event, Input)):
                return data
        return b""

    async def write(self, data: bytes) -> None:
        await self.end.deliver([Output(data)])

    async def close(self) -> None:
        await self.end.close()


class TlsStream:
    """The inside of TLS in a channel. Clients that crash, and some that end, go without the goodbye of TLS."""

    def __init__(self, inside: TlsEnd) -> None:
        self._inside = inside

    async def read(self) -> bytes:
        try:
            return await self._inside.read()
        except ssl.SSLError:
            return b""

    async def write(self, data: bytes) -> None:
        try:
            await self._inside.write(data)
        except ssl.SSLError:
            return  # whoever reads learns that it is gone

    async def close(self) -> None:
        await self._inside.close()


class Buffered:
    """A stream of which exact numbers of bytes are read; what came beyond them stands in `rest`."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.rest = b""

    async def exactly(self, count: int) -> bytes:
        """*count* bytes. Raises ConnectionResetError when the other side goes before."""
        while len(self.rest) < count:
            if not (data := await self.stream.read()):
                raise ConnectionResetError("the connection ended in the middle of a message")
            self.rest += data
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    async def message(self, largest: int = 1024 * 1024) -> tuple[bytes, bytes]:
        """A whole message: its kind and its body. Raises Malformed for one longer than *largest*."""
        kind = await self.exactly(1)
        return kind, await self.body(largest)

    async def body(self, largest: int) -> bytes:
        """The rest of a message whose kind was read, or a message of the start-up, which has none."""
        (length,) = LENGTH.unpack(await self.exactly(4))
        if not 4 <= length <= largest:
            raise Malformed(f"a message of {length} bytes")
        return await self.exactly(length - 4)
