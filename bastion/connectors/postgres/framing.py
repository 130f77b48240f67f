"""The messages of each side, found in the bytes as they come: no message is put together to be passed on.

A row costs a look at its header and nothing else once nobody wants to see it: results have millions of them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bastion.connectors.postgres.messages import LENGTH, Malformed

HEADER = 5
_HEAD = struct.Struct("!BI")
LARGEST_STATEMENT = 16 * 1024 * 1024
"""Bytes of a statement: one is on record as a whole before the server sees any of it."""
LARGEST_LOOK = 64 * 1024
"""Bytes of other messages that are looked into."""

DATA_ROW, COPY_DATA = ord("D"), ord("d")
_STATEMENTS, _COPY_ENDS = frozenset(b"QE"), frozenset(b"cf")


class Tally:
    """Messages that are counted, and digested if *digests*, and not looked into: rows, or the data of a COPY."""

    def __init__(self, *, digests: bool = False) -> None:
        self._digests = digests
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.count = self.size = 0
        self._digest = hashlib.sha256()

    def end(self) -> None:
        """What was counted is whole; begin anew."""
        self.reset()

    def run(self, view: memoryview, at: int) -> int:
        """Add the neighbouring messages of one kind that begin *at*; returns where the last of them ends, or will.

        Raises Malformed.
        """
        unpack, start, kind, end, count = _HEAD.unpack_from, at, view[at], len(view), 0
        last = end - HEADER
        while at <= last:
            found, length = unpack(view, at)
            if found != kind:
                break
            if length < LENGTH.size:
                raise Malformed("a message that is shorter than its header")
            at += 1 + length
            count += 1
        self.count += count
        self.add(view[start : min(at, end)])
        return at

    def add(self, data: memoryview | bytes) -> None:
        self.size += len(data)
        if self._digests:
            self._digest.update(data)

    @property
    def payload(self) -> int:
        """The bytes of their bodies."""
        return self.size - HEADER * self.count

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class ServerFraming:
    """What a server says. *told* is called with the kind and the body of each message that is not tallied.

    Bodies are cut to `LARGEST_LOOK`. Rows are tallied in *rows* unless *wants_rows*, the data of a COPY in *copied*.
    """

    def __init__(self, told: Callable[[int, bytes], None]) -> None:
        self._told = told
        self.wants_rows = True
        self.rows = Tally(digests=True)
        self.copied = Tally()
        self._head = b""
        self._left = 0
        self._kind = 0
        self._kept: bytearray | None = None
        self._tally: Tally | None = None

    @property
    def is_between(self) -> bool:
        """Whether the last byte was the end of a message."""
        return not self._left and not self._head

    def feed(self, data: bytes) -> None:
        """Take what came. Raises Malformed."""
        at = self._go_on(data) if self._left else 0
        if self._left:
            return
        if self._head:
            data, self._head = self._head + data, b""
        end, unpack = len(data), LENGTH.unpack_from
        view = memoryview(data)
        while end - at >= HEADER:
            kind = data[at]
            following = at + 1 + unpack(data, at + 1)[0]
            if following < at + HEADER:
                raise Malformed("a message that is shorter than its header")
            if kind == COPY_DATA or (kind == DATA_ROW and not self.wants_rows):
                tally = self.copied if kind == COPY_DATA else self.rows
                following = tally.run(view, at)
                self._tally = tally if following > end else None
            else:
                body = data[at + HEADER : min(following, at + HEADER + LARGEST_LOOK)]
                if following <= end:
                    self._told(kind, body)
                else:
                    self._kind, self._kept = kind, bytearray(body)
            at = following
        self._left = max(0, at - end)
        self._head = data[at:]

    def _go_on(self, data: bytes) -> int:
        """The rest of the message that the last bytes began; returns where it ends in *data*."""
        part = min(self._left, len(data))
        self._left -= part
        if self._tally is not None:
            self._tally.add(memoryview(data)[:part])
        elif self._kept is not None:
            self._kept += data[: min(part, LARGEST_LOOK - len(self._kept))]
        if not self._left:
            if self._kept is not None:
                self._told(self._kind, bytes(self._kept))
            self._kept = self._tally = None
        return part


Message = tuple[int, bytes, int]
"""A message of a client: its kind, its body as far as it is looked into, and the size of the whole body.

At the end of the data of a COPY (`c`, `f`), the size is that of the data.
"""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a client to be passed on or withheld together, and the messages that end in them."""

    data: bytes
    messages: tuple[Message, ...]


class ClientFraming:
    """What a client says, in pieces: statements (`Q`, `P`) whole, *held* kinds alone and whole, others as they come.

    The data of a COPY is tallied in *copied*, anew after its end and each statement: clients send it unasked.
    """

    def __init__(self, held: bytes) -> None:
        self._held = frozenset(held)
        self._whole = frozenset(b"QP" + held)
        self.copied = Tally()
        self._waiting = b""
        self._left = 0
        self._begun: tuple[int, bytearray, int] | None = None

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Take what came. Raises Malformed, also for a statement longer than `LARGEST_STATEMENT`."""
        data = self._waiting + data
        messages: list[Message] = []
        start, at = 0, self._go_on(data, messages)
        while len(data) - at >= HEADER:
            kind = data[at]
            if kind in self._held and start < at:
                yield Piece(data[start:at], tuple(messages))
                start, messages = at, []
            following = self._next(data, at, messages)
            if following is None:
                break
            at = min(following, len(data))
            if kind in self._held:
                yield Piece(data[start:at], tuple(messages))
                start, messages = at, []
        if start < at:
            yield Piece(data[start:at], tuple(messages))
        self._waiting = data[at:]

    def _next(self, data: bytes, at: int, messages: list[Message]) -> int | None:
        """Where the message *at* ends, or will; None where more of it must come first."""
        kind, size = data[at], int(LENGTH.unpack_from(data, at + 1)[0]) - LENGTH.size
        if size < 0:
            raise Malformed("a message that is shorter than its header")
        if kind == COPY_DATA:
            following = self.copied.run(memoryview(data), at)
            self._left, self._begun = max(0, following - len(data)), None
            return following
        begins, following = at + HEADER, at + HEADER + size
        if kind in _STATEMENTS:
            self.copied.reset()
        if kind in self._whole:
            if size > LARGEST_STATEMENT:
                raise Malformed(f"a statement of {size} bytes; the bastion takes {LARGEST_STATEMENT}")
            if following > len(data):
                return None
            messages.append((kind, data[begins:following], size))
            return following
        body = data[begins : min(following, begins + LARGEST_LOOK)]
        if following <= len(data):
            messages.append((kind, body, self._size_of(kind, size)))
        else:
            self._begun, self._left = (kind, bytearray(body), size), following - len(data)
        return following

    def _size_of(self, kind: int, size: int) -> int:
        if kind not in _COPY_ENDS:
            return size
        copied = self.copied.payload
        self.copied.end()  # one statement may be many COPYs
        return copied

    def _go_on(self, data: bytes, messages: list[Message]) -> int:
        """The rest of the message that the last bytes began; returns where it ends in *data*."""
        part = min(self._left, len(data))
        self._left -= part
        if self._begun is None:
            self.copied.add(memoryview(data)[:part])
            return part
        kind, body, size = self._begun
        body += data[: min(part, LARGEST_LOOK - len(body))]
        if not self._left:
            messages.append((kind, bytes(body), self._size_of(kind, size)))
            self._begun = None
        return part
