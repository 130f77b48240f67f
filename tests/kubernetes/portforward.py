"""What a kubelet does of `kubectl port-forward`: SPDY/3.1 in a WebSocket, and behind it a program that shouts.

kubectl opens two streams for each connection to its port, first one for errors, which it ends at once, and then the
data; so their headers need not be read. Windows are not kept: tests send little.
"""

from __future__ import annotations

import struct
import zlib

from aiohttp import WSMsgType, web

PROTOCOL = "SPDY/3.1+portforward.k8s.io"

_SYN_STREAM, _SYN_REPLY, _PING = 1, 2, 6
_CONTROL = 0x8003
_FIN = 1


async def forward(socket: web.WebSocketResponse) -> None:
    """Serve one port-forward until kubectl leaves."""
    headers = (
        zlib.compressobj()
    )  # one for all frames; without SPDY's dictionary, which is a choice of the sender
    received = b""
    async for message in socket:
        if message.type is not WSMsgType.BINARY:
            return
        received += message.data
        while len(received) >= 8:
            (length,) = struct.unpack("!I", b"\0" + received[5:8])
            if len(received) < 8 + length:
                break
            frame, received = received[: 8 + length], received[8 + length :]
            if answer := _answer(frame, headers):
                await socket.send_bytes(answer)


def _answer(frame: bytes, headers: zlib._Compress) -> bytes:
    first, kind, flags = struct.unpack("!HHB", frame[:5])
    body = frame[8:]
    if first != _CONTROL:
        stream = struct.unpack("!I", frame[:4])[0]
        shouted = _data(stream, body.upper(), flags) if body or flags & _FIN else b""
        # The stream for errors is the one before, and ends with that of the data.
        return shouted + (_data(stream - 2, b"", _FIN) if flags & _FIN and _is_of_data(stream) else b"")
    match kind:
        case _ if kind == _SYN_STREAM:
            none = headers.compress(struct.pack("!I", 0)) + headers.flush(zlib.Z_SYNC_FLUSH)
            return _control(_SYN_REPLY, body[:4] + none)
        case _ if kind == _PING:
            return frame
        case _:
            return b""


def _is_of_data(stream: int) -> bool:
    return stream % 4 == 3


def _control(kind: int, body: bytes) -> bytes:
    return struct.pack("!HHI", _CONTROL, kind, len(body)) + body


def _data(stream: int, data: bytes, flags: int) -> bytes:
    return struct.pack("!IB", stream, flags) + len(data).to_bytes(3) + data
