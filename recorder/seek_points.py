"""Key points: places in a recording from which the screen of a later moment can be drawn.

They hold offsets, sizes and modes, and no text of the session. They are derived, and bounded: a longer recording has
them farther apart. Knows nothing of how they are found (`seek_scan`) nor where they are kept (`seek_index`).
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

MOST_POINTS = 2048
MOST_NOTES = 10_000
FIRST_SPACING = 64 * 1024
"""Bytes of the file between key points, at least; doubled whenever there are too many."""


class KeyPoint(msgspec.Struct, array_like=True, kw_only=True):
    """Where an event begins in the file, and what a terminal must be told before it is shown.

    *offset* is in bytes, *line* the number of the line before, *time* when that was, *untold* as the Reader counts it.
    *modes* are sequences; *x* and *y* the cursor, from 0. *start* is the number of the point to begin at for moments
    from this one to the next point. On the alternate screen *entered* is where the event ends that entered it, and
    *main* the point to begin at for what is on the main screen there; else -1.
    """

    offset: int
    line: int
    time: float
    untold: int
    columns: int
    rows: int
    modes: str
    x: int
    y: int
    start: int
    entered: int = -1
    main: int = -1


class Note(NamedTuple):
    """A note of the bastion in the recording: when, and where its line begins."""

    time: float
    offset: int


@dataclass(frozen=True, slots=True)
class Leg:
    """A piece of the recording to show: from *point* to before the offset *until* (None: as far as is wanted)."""

    point: KeyPoint
    until: int | None = None


class KeyPoints:
    """The key points and notes of a recording, as far as it has been scanned. One thread may add while another asks."""

    def __init__(self, points: Sequence[KeyPoint] = (), notes: Sequence[Note] = ()) -> None:
        self._points = list(points)
        self._notes = list(notes)
        self._lock = threading.Lock()
        self.spacing = FIRST_SPACING

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, number: int) -> KeyPoint:
        return self._points[number]

    @property
    def points(self) -> list[KeyPoint]:
        return self._points

    @property
    def notes(self) -> list[Note]:
        return self._notes

    def legs(self, time: float) -> list[Leg]:
        """What to show, on a screen that is clear, for the screen as it was at *time*; nothing if none is known."""
        with self._lock:
            number = bisect_right(self._points, time, key=lambda point: point.time) - 1
            if number < 0:
                return []
            point = self._points[self._points[number].start]
            if point.main < 0:
                return [Leg(point)]
            return [Leg(self._points[point.main], point.entered), Leg(point)]

    def note_before(self, offset: int) -> Note | None:
        """The last note in front of *offset*."""
        with self._lock:
            number = bisect_right(self._notes, offset - 1, key=lambda note: note.offset) - 1
            return self._notes[number] if number >= 0 else None

    def add_note(self, note: Note) -> None:
        with self._lock:
            if len(self._notes) < MOST_NOTES:
                self._notes.append(note)

    def add(self, point: KeyPoint) -> list[int] | None:
        """Add *point*, which is behind all others. When that are too many, the new numbers of all by their old ones."""
        with self._lock:
            self._points.append(point)
            if len(self._points) <= MOST_POINTS:
                return None
            self.spacing *= 2
            return self._drop_half()

    def _drop_half(self) -> list[int]:
        """Keep every second point. What began at a dropped one begins earlier, which is right as well."""
        old, self._points = self._points, self._points[::2]
        numbers = [self._earlier(number // 2, point.entered) for number, point in enumerate(old)]
        mains = [numbers[point.main] if point.main >= 0 else -1 for point in old]
        for number, point in enumerate(old):
            start = numbers[point.start]
            if self._points[start].entered != old[point.start].entered:  # that stay has no point that early
                start = mains[point.start]
            point.start = start
            if number % 2:  # its moments belong to the point before now
                self._points[number // 2].start = min(self._points[number // 2].start, start)
        for point, main in zip(old, mains, strict=True):
            point.main = main
        return numbers

    def _earlier(self, number: int, entered: int) -> int:
        """The last point, from *number* back, of the same stay on the alternate screen, else of the main screen."""
        if self._points[number].entered == entered:
            return number
        while self._points[number].entered >= 0:
            number -= 1
        return number
