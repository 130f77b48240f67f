"""Frames of WebSockets, good and bad, as bytes."""

from __future__ import annotations

from collections.abc import Iterator

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader as FrameReader


def frame(data: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=mask)


def frames(data: bytes) -> Iterator[Frame]:
    """The frames that a server sent."""
    reader = FrameReader()
    reader.feed_data(data)
    reader.feed_eof()
    while True:
        parsing = Frame.parse(reader.read_exact, mask=False, max_size=None)
        try:
            next(parsing)
        except StopIteration as done:
            yield done.value
        except EOFError:
            return
