"""What the COPYs of a connection carry, where a recording keeps it: taken out of the messages as they come.

A part is shown in the conversation as it is where that can be read; a fact in front of it says which bytes of which
COPY they are, and has them in base64 where what is shown is not exactly they. `recorder/contents.py` reads it back.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator, Mapping

from bastion.connectors.postgres.binary_rows import SIGNATURE, BinaryRows
from bastion.connectors.postgres.framing import HEADER, Tally
from bastion.connectors.postgres.messages import LENGTH, Malformed
from recorder.contents import BASE64, CONTENTS
from recorder.events import Event, Happened, Output, Scalar
from recorder.lines import encode_bytes

PIECE = 256 * 1024
"""Bytes that one fact tells of at most."""

_STEERING = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|\xc2[\x80-\x9f]")
"""What would move about in a terminal, and so in a replay, instead of being read."""


class Copied:
    """What one COPY carries: its size, its digest, and of the first *most* bytes what was not told yet."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._digest = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._rows: BinaryRows | None = None
        self.number = 0
        self.size = self.kept = self._told = 0

    def add(self, data: bytes | memoryview) -> None:
        self.size += len(data)
        self._digest.update(data)
        if (room := self._most - self.kept) > 0:
            self._waiting.append(bytes(data[:room]))
            self.kept += min(room, len(data))

    @property
    def facts(self) -> dict[str, Scalar]:
        """What is said of it at its end."""
        return {"copied": self.size, "kept": self.kept, "sha256": self._digest.hexdigest()}

    def tell(self, direction: str, *, is_binary: bool) -> Iterator[Event]:
        """What to record of what came since the last call."""
        data, self._waiting = b"".join(self._waiting), []
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            facts: dict[str, Scalar] = {
                "id": self.number, "direction": direction, "offset": self._told, "size": len(piece),
            }  # fmt: skip
            # Some clients send it without having heard of which form the server takes it to be.
            if self._rows is None and not self._told and (is_binary or piece.startswith(SIGNATURE)):
                self._rows = BinaryRows()
            shown = self._rows.feed(piece).encode() if self._rows else _STEERING.sub(_escaped, piece)
            if shown != piece:
                facts[BASE64] = encode_bytes(piece)
            self._told += len(piece)
            yield Happened(CONTENTS, "", facts)
            if shown:
                yield Output(shown)


class Contents(Tally):
    """The data of COPYs in one direction, counted as ever, and each kept: `part` is the one that goes just now.

    *given_up* are those that no end came of: a client goes on without one once the server complains.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.part = Copied(most)
        self.given_up: list[Copied] = []
        self._ended: deque[Copied] = deque()
        super().__init__()

    def reset(self) -> None:
        super().reset()
        if self.part.size:
            self.given_up.append(self.part)
            self.part = Copied(self._most)

    def end(self) -> None:
        self._ended.append(self.part)
        self.part = Copied(self._most)
        super().end()

    def ended(self) -> Copied:
        """The one that ended first of those that were not asked for."""
        return self._ended.popleft()

    def run(self, view: memoryview, at: int) -> int:
        unpack, start, kind, end, bodies = LENGTH.unpack_from, at, view[at], len(view), []
        while end - at >= HEADER and view[at] == kind:
            length = unpack(view, at + 1)[0]
            if length < LENGTH.size:
                raise Malformed("a message that is shorter than its header")
            bodies.append(view[at + HEADER : at + 1 + length])
            at += 1 + length
        self.count += len(bodies)
        self.size += min(at, end) - start
        self.part.add(b"".join(bodies))
        return at

    def add(self, data: memoryview | bytes) -> None:
        self.size += len(data)
        self.part.add(data)


class Copies:
    """The COPYs of one connection; with *most* 0 they are counted alone.

    *sent* and *received* are for the framings of both sides. What is to be recorded before it goes on comes as events.
    """

    def __init__(self, most: int) -> None:
        self.sent = Contents(most) if most else Tally()
        self.received = Contents(most) if most else Tally()
        self._ended: deque[tuple[int, Copied | None]] = deque()
        self._number = 0
        self._direction = ""
        self._is_binary = False

    def begin(self, direction: str, body: bytes) -> None:
        """The server is ready for one; *body* is that of its message."""
        self._direction, self._is_binary = direction, body[:1] == b"\1"
        if direction == "out":
            self.received.reset()
            if isinstance(self.received, Contents):
                self.received.given_up.clear()  # those before were told of as they ended

    def forget(self) -> None:
        """Something else is asked for: clients end a COPY that failed, too."""
        self._ended.clear()

    def end_sent(self, size: int) -> list[Event]:
        """The client says that one is whole, of *size* bytes."""
        part = self.sent.ended() if isinstance(self.sent, Contents) else None
        self._ended.append((size, part))
        return self._told(part, "in")

    def told_given_up(self) -> list[Event]:
        """What came of those that the client let go of."""
        if not isinstance(self.sent, Contents):
            return []
        parts, self.sent.given_up = self.sent.given_up, []
        return [event for part in parts for event in self._told(part, "in")]

    def told_sent(self) -> list[Event]:
        """What came of the client since the last call."""
        return self._told(self.sent.part, "in") if isinstance(self.sent, Contents) else []

    def told_received(self) -> list[Event]:
        """What came of the server since the last call."""
        if self._direction != "out" or not isinstance(self.received, Contents):
            return []
        return self._told(self.received.part, "out")

    def finish(self) -> dict[str, Scalar]:
        """What is said of the one that goes just now, at its end; nothing where there is none."""
        direction, self._direction = self._direction, ""
        if direction == "in" and self._ended:
            size, part = self._ended.popleft()
        elif direction:
            tally = self.sent if direction == "in" else self.received
            size, part = tally.payload, tally.part if isinstance(tally, Contents) else None
        else:
            return {}
        return {"copied": size} if part is None else part.facts

    def _told(self, part: Copied | None, direction: str) -> list[Event]:
        if part is None:
            return []
        if part.size and not part.number:
            self._number += 1
            part.number = self._number
        return list(part.tell(direction, is_binary=self._is_binary))


def words_about(facts: Mapping[str, Scalar]) -> str:
    """What a COPY carried, in words; none where it was none."""
    copied, kept = facts.get("copied"), facts.get("kept")
    if copied is None:
        return ""
    of_which = f" (the first {kept:,} are kept)" if kept is not None and kept != copied else ""
    digest = f", SHA-256 {facts['sha256']}" if "sha256" in facts else ""
    return f", {copied:,} bytes{of_which}{digest}"


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in found[0])
