"""TLS inside a channel: the bastion as the server of a connection that a person's own client opened through it.

No socket is involved: OpenSSL reads from and writes to memory, and the channel's own back-pressure holds for both
directions. Knows nothing of what is spoken inside.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

from bastion.transport.endpoint import TcpEnd
from recorder.events import Input, InputEnded, Output

_PIECE = 64 * 1024


class TlsEnd:
    """The inside of a TLS connection over *end*. One task may read while another one writes."""

    def __init__(self, end: TcpEnd, context: ssl.SSLContext) -> None:
        self._end = end
        self._arrived = ssl.MemoryBIO()
        self._leaving = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_side=True)

    async def handshake(self) -> None:
        """Meet the client. Raises ssl.SSLError when it wants something else, ConnectionError when it goes."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    raise ConnectionResetError("the client left before TLS was agreed on") from None
            except ssl.SSLError:
                await self._flush()  # the alert that tells the client why
                raise
            else:
                await self._flush()
                return

    async def read(self) -> bytes:
        """Some bytes of the client, or b"" once it has said all. Raises ssl.SSLError for what is no TLS."""
        while True:
            try:
                return self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    async def write(self, data: bytes) -> None:
        """Send *data*, and wait until the client can take more; one that is gone takes everything."""
        if data:
            self._tls.write(data)
            await self._flush()

    def put(self, data: bytes) -> bool:
        """Send a few bytes without waiting; false if the client takes nothing any more."""
        self._tls.write(data)
        return self._end.put([Output(self._leaving.read())])

    async def close(self) -> None:
        """Say that this was all, and close the channel."""
        with suppress(ssl.SSLError):  # the client's own goodbye is not waited for
            self._tls.unwrap()
        await self._flush()
        await self._end.close()

    def abort(self) -> None:
        """Close the channel at once, so that the client cannot take what it has for the whole."""
        self._end.abort()

    async def _fill(self) -> bool:
        """Take in what came; false once nothing more will."""
        for event in await self._end.receive():
            match event:
                case Input(data):
                    self._arrived.write(data)
                case InputEnded():
                    self._arrived.write_eof()
        return self._arrived.pending > 0

    async def _flush(self) -> None:
        if data := self._leaving.read():
            await self._end.deliver([Output(data)])
