"""One direction of rsync's protocol: bytes as they come, taken out of their frames, and the numbers in them.

A reading is a generator that yields where bytes are missing and goes on when more have come, so that it makes no
difference how the bytes are cut. It keeps what has not been read yet, as it came, and no more than that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from enum import IntEnum
from typing import TypeVar

from bastion.relay.sftp_packets import Unreadable

T = TypeVar("T")
Reading = Generator[None, None, T]

MAX_FIELD = 64 * 1024
"""Bytes of one field that is read as a whole; longer ones are passed over or digested piece by piece."""

MAX_AHEAD = 1024 * 1024
"""Bytes that may come before they can be understood."""

DONE, FLIST_EOF, DELETED_COUNTS, FLIST_OFFSET = -1, -2, -3, -101
"""Numbers in the place of a file's: the end of a phase or a list, counts, and the first number of a folder's list."""

_TAG_BASE = 7
_SHARES = ((0xFC, 6), (0xF8, 5), (0xF0, 4), (0xE0, 3), (0xC0, 2), (0x80, 1))
_MORE = bytes(next((more for least, more in _SHARES if first >= least), 0) for first in range(256))


class Tag(IntEnum):
    """What a frame holds that is no data."""

    DATA = 0
    ERROR_XFER = 1
    INFO = 2
    ERROR = 3
    WARNING = 4
    ERROR_SOCKET = 5
    LOG = 6
    CLIENT = 7
    ERROR_UTF8 = 8
    REDO = 9
    STATS = 10
    IO_ERROR = 22
    IO_TIMEOUT = 33
    NOOP = 42
    ERROR_EXIT = 86
    SUCCESS = 100
    DELETED = 101
    NO_SEND = 102


class Stream:
    """One direction: `feed` it, take fields out. *side* is a word for whoever talks."""

    def __init__(self, side: str) -> None:
        self.side = side
        self.messages: deque[tuple[Tag, bytes]] = deque()
        self._raw = bytearray()  # not yet out of its frames
        self._data = bytearray()  # out of them, and not read
        self._fed = self._pulled = 0
        self._pieces: deque[tuple[int, int]] = (
            deque()
        )  # where a piece of data ends, and where it began when it came
        self._chunks: deque[tuple[int, bytes]] = deque()  # what came, each with where it ends, while needed
        self._is_framed = False
        self._tag = Tag.DATA
        self._left = 0  # of the frame
        self._previous = [-1, 1]  # numbers of files: the last positive one, the last negative one

    @property
    def place(self) -> int:
        """Where in all that came the first byte is that `rest` gives."""
        return self._chunks[0][0] - len(self._chunks[0][1]) if self._chunks else self._fed

    def feed(self, data: bytes) -> None:
        self._raw += data
        self._fed += len(data)
        self._chunks.append((self._fed, data))

    def settle(self) -> None:
        """Forget what has been read, which has been told. Raises Unreadable if too much has not."""
        read = self._pulled - len(self._data)
        while self._pieces and self._pieces[0][0] <= read:
            self._pieces.popleft()
        first = self._pieces[0][1] if self._pieces else self._fed - len(self._raw)
        while self._chunks and self._chunks[0][0] <= first:
            self._chunks.popleft()
        if len(self._raw) + len(self._data) > MAX_AHEAD:
            raise Unreadable("too much comes before it can be understood")

    def rest(self) -> bytes:
        """Take out what was not read, as it came, and perhaps a bit of what came in front with it."""
        rest = b"".join(data for _, data in self._chunks)
        for kept in (self._chunks, self._pieces, self._raw, self._data):
            kept.clear()
        return rest

    def frame(self, is_framed: bool = True) -> None:
        """From here on bytes come in frames, or no longer."""
        if self._data or self._left:
            if not is_framed or self._is_framed:
                raise Unreadable("frames begin or end amid data")
            self._raw[:0] = self._data
            self._pulled -= len(self._data)
            self._data.clear()
            self._pieces.clear()
        self._is_framed = is_framed

    def take(self, size: int) -> Reading[bytes]:
        """Exactly *size* bytes."""
        if size > MAX_FIELD:
            raise Unreadable("a field that is longer than any")
        while len(self._data) < size:
            if not self._pull():
                yield
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken

    def some(self, most: int) -> Reading[bytes]:
        """At least one byte, and at most so many."""
        while not self._data:
            if not self._pull():
                yield
        if len(self._data) <= most:
            taken = bytes(self._data)
            self._data.clear()
        else:
            taken = bytes(self._data[:most])
            del self._data[:most]
        return taken

    def skip(self, size: int) -> Reading[None]:
        while size:
            size -= len((yield from self.some(size)))

    def byte(self) -> Reading[int]:
        while not self._data:
            if not self._pull():
                yield
        first = self._data[0]
        del self._data[:1]  # unlike pop this moves nothing
        return first

    def short(self) -> Reading[int]:
        return int.from_bytes((yield from self.take(2)), "little")

    def integer(self) -> Reading[int]:
        return int.from_bytes((yield from self.take(4)), "little", signed=True)

    def varint(self) -> Reading[int]:
        """A number whose first byte says by its leading ones how many more bytes there are."""
        number = yield from self.varlong(1)
        if number >= 1 << 32:
            raise Unreadable("a number that is greater than any")
        return number - (1 << 32) if number >= 1 << 31 else number

    def varlong(self, least: int) -> Reading[int]:
        """The same, of at least so many bytes; the first byte has what does not fit into the others."""
        first = yield from self.byte()
        more = _MORE[first]
        size = least - 1 + more
        if size > 8:
            raise Unreadable("a number that is greater than any")
        if not size:
            return first
        low = int.from_bytes((yield from self.take(size)), "little")
        return low | (first & (0xFF >> more)) << (8 * size)

    def longint(self) -> Reading[int]:
        """A number of protocols before 30: four bytes, or ones and eight bytes."""
        number = yield from self.integer()
        if number != -1:
            return number
        return int.from_bytes((yield from self.take(8)), "little", signed=True)

    def string(self) -> Reading[bytes]:
        """Bytes with their length in front, in one byte or two."""
        length = yield from self.byte()
        if length & 0x80:
            length = (length & 0x7F) << 8 | (yield from self.byte())
        return (yield from self.take(length))

    def index(self) -> Reading[int]:
        """The number of a file, told by how far it is from the one before (from protocol 30 on)."""
        first = yield from self.byte()
        if not first:
            return DONE
        which = 0
        if first == 0xFF:
            which, first = 1, (yield from self.byte())
        if first == 0xFE:
            high, low = yield from self.take(2)
            if high & 0x80:
                middle = yield from self.take(2)
                number = low | middle[0] << 8 | middle[1] << 16 | (high & 0x7F) << 24
            else:
                number = (high << 8 | low) + self._previous[which]
        else:
            number = first + self._previous[which]
        self._previous[which] = number
        return -number if which else number

    def _pull(self) -> bool:
        """Take more data out of its frames; whether anything moved."""
        if not self._raw:
            return False
        if not self._is_framed:
            self._move(len(self._raw))
            return True
        if not self._left:
            if len(self._raw) < 4:
                return False
            header = int.from_bytes(self._raw[:4], "little")
            try:
                self._tag = Tag((header >> 24) - _TAG_BASE)
            except ValueError as error:
                raise Unreadable("no frame of rsync's") from error
            self._left = header & 0xFFFFFF
            if self._tag is not Tag.DATA and self._left > MAX_FIELD:
                raise Unreadable("a message that is longer than any")
            if len(self._raw) < 4 + self._left and self._tag is not Tag.DATA:
                self._left = 0
                return False  # the header stays for the next time
            del self._raw[:4]
        if self._tag is Tag.DATA:
            self._move(min(self._left, len(self._raw)), self._left)
        else:
            self.messages.append((self._tag, bytes(self._raw[: self._left])))
            del self._raw[: self._left]
            self._left = 0
        return True

    def _move(self, size: int, left: int = 0) -> None:
        if size:
            began = self._fed - len(self._raw)
            self._data += self._raw[:size]
            del self._raw[:size]
            self._pulled += size
            self._pieces.append((self._pulled, began))
        self._left = left - size if left else 0
