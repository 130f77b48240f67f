"""Time and tape of a replay: when an event is due, where we are, forwards and back. Knows no terminal.

All times are seconds since the start of the recording, but for what the clock says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from recorder.at_rest import Identity
from recorder.errors import FormatError
from recorder.events import ErrorOutput, Noted, Output, Resized
from recorder.header import Header
from recorder.names import SessionId
from recorder.reader import Entry, Reader, open_recording
from recorder.screen_filter import ScreenFilter

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
        self._entries = iter(Reader(self._file))
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

    def _advance(self) -> None:
        try:
            self._head = next(self._entries, None)
        except FormatError as error:
            self.fault, self._head = error, None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What must be known of a recording before it is played. *columns* and *rows* are the largest it had.

    *markers* are the times of its notes.
    """

    id: SessionId
    header: Header
    length: float
    columns: int
    rows: int
    markers: tuple[float, ...] = ()


def survey(path: Path, identities: Sequence[Identity] = ()) -> Survey:
    """Read the recording at *path* once through, as far as it can be read; FormatError when it is none."""
    with open_recording(path, identities) as reader:
        length, columns, rows = 0.0, reader.header.columns, reader.header.rows
        markers: list[float] = []
        try:
            for entry in reader:
                length = entry.time
                if isinstance(entry.event, Resized):
                    columns, rows = max(columns, entry.event.columns), max(rows, entry.event.rows)
                elif isinstance(entry.event, Noted):
                    markers.append(entry.time)
        except FormatError:
            pass  # the player comes to it, and says so
        return Survey(
            id=reader.id,
            header=reader.header,
            length=length,
            columns=columns,
            rows=rows,
            markers=tuple(markers),
        )


def shown_text(path: Path, *, restores: bool, identities: Sequence[Identity] = ()) -> Iterator[str]:
    """All output of the recording at *path*, safe to show, without any waiting; at last what *restores* a terminal."""
    with open_recording(path, identities) as reader:
        screen = ScreenFilter()
        for entry in reader:
            if isinstance(entry.event, Output | ErrorOutput) and (text := screen.feed(entry.text)):
                yield text
        if restores:
            yield screen.restore()
