"""Time and tape of a replay: when an event is due, where we are, forwards and back. Knows no terminal.

All times are seconds since the start of the recording, but for what the clock says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from recorder.at_rest import Identity
from recorder.catalog import last_time
from recorder.errors import FormatError
from recorder.events import ErrorOutput, Output
from recorder.header import Header
from recorder.lines import LINE_LIMIT, decode_line
from recorder.names import SessionId
from recorder.reader import Entry, Reader, open_recording
from recorder.screen_filter import ScreenFilter
from recorder.seek_points import KeyPoint, Note

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
DEFAULT_IDLE_LIMIT = 2.0


class Pace:
    """When events are due: with a speed, pauses, and a limit to how long nothing may happen."""

    def __init__(
        self, now: Callable[[], float], *, speed: float = 1.0, idle_limit: float | None = None
    ) -> None:
        self.speed = speed
        self.idle_limit = idle_limit
        self.is_paused = False
        self._now = now
        self._at = 0.0
        self._since = now()
        self._last = 0.0

    @property
    def position(self) -> float:
        """Where the replay is by now."""
        return self._at if self.is_paused else self._at + (self._now() - self._since) * self.speed

    def due_in(self, time: float) -> float | None:
        """Seconds on the clock until an event of *time* is due (0 if it is); None while paused."""
        if self.is_paused:
            return None
        due = time if self.idle_limit is None else min(time, self._last + self.idle_limit)
        return max((due - self.position) / self.speed, 0.0)

    def reached(self, time: float) -> None:
        """An event of *time* was shown; if that was before its time, because nothing happened, we are there now."""
        self._last = time
        if self.position < time:
            self._set(time)

    def jump(self, to: float) -> None:
        """Go on from *to*."""
        self._last = to
        self._set(to)

    def pause(self, paused: bool) -> None:
        self._set(self.position)
        self.is_paused = paused

    def faster(self, step: int) -> None:
        """Take the next speed of SPEEDS up (1) or down (-1)."""
        self._set(self.position)
        faster = [speed for speed in SPEEDS if (speed > self.speed if step > 0 else speed < self.speed)]
        if faster:
            self.speed = min(faster) if step > 0 else max(faster)

    def _set(self, at: float) -> None:
        self._at, self._since = at, self._now()


class Tape:
    """The entries of an open recording, one after the other, and from the start again."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.fault: FormatError | None = None
        """Why the tape cannot be read on, once that is so: it ends there."""
        self.rewind()

    def rewind(self) -> None:
        """Begin at the start."""
        self._file.seek(0)
        self._reader = Reader(self._file)
        self._entries = iter(self._reader)
        self._advance()

    @property
    def offset(self) -> int:
        """Where the next entry begins in the file."""
        return self._reader.whole

    def go_to(self, point: KeyPoint) -> None:
        """Let the entry that begins at *point* be the next; FormatError when none can begin there."""
        self._file.seek(point.offset - 1)
        if self._file.read(2) not in (b"\n[", b"\n"):
            raise FormatError("no line begins at that key point", line=point.line + 1)
        self.fault = None
        self._reader.go_to(point.offset, line=point.line, time=point.time, untold=point.untold)
        self._entries = iter(self._reader)
        self._advance()

    @property
    def head(self) -> Entry | None:
        """The next entry, or None at the end."""
        return self._head

    def take(self) -> Entry:
        """Take the next entry off the tape; there must be one."""
        if (entry := self._head) is None:
            raise EOFError("the tape is at its end")
        self._advance()
        return entry

    def text_of(self, note: Note) -> str:
        """What *note* says; nothing where there is none. The next entry must be gone to after that."""
        self._file.seek(note.offset)
        try:
            return decode_line(0, self._file.readline(LINE_LIMIT + 1)).data
        except FormatError:
            return ""

    def _advance(self) -> None:
        try:
            self._head = next(self._entries, None)
        except FormatError as error:
            self.fault, self._head = error, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What must be known of a recording before it is played: its *length* is in seconds."""

    id: SessionId
    header: Header
    length: float


def survey(path: Path, identities: Sequence[Identity] = ()) -> Survey:
    """Look at both ends of the recording at *path*; FormatError when it is none."""
    with open_recording(path, identities) as reader:
        try:
            length = last_time(path)
        except FormatError:  # encrypted, and no label says it
            length = _read_through(reader)
        return Survey(id=reader.id, header=reader.header, length=length)


def _read_through(reader: Reader) -> float:
    try:
        for _ in reader:
            pass
    except FormatError:
        pass  # the player comes to it, and says so
    return reader.time


def shown_text(path: Path, *, restores: bool, identities: Sequence[Identity] = ()) -> Iterator[str]:
    """All output of the recording at *path*, safe to show, without any waiting; at last what *restores* a terminal."""
    with open_recording(path, identities) as reader:
        screen = ScreenFilter()
        for entry in reader:
            if isinstance(entry.event, Output | ErrorOutput) and (text := screen.feed(entry.text)):
                yield text
        if restores:
            yield screen.restore()
