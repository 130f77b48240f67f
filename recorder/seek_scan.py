"""Reads a recording once through to find its key points, its notes, and the largest size it had.

It runs in a thread beside whoever plays the recording, who may use what has been found at any time. Whether there are
key points changes how long a seek takes, never what it shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import BinaryIO

from recorder.errors import FormatError
from recorder.events import ErrorOutput, FileHandled, Happened, Noted, Output, Resized
from recorder.reader import Entry, Reader
from recorder.screen_filter import ScreenFilter
from recorder.seek_points import KeyPoint, KeyPoints, Note
from recorder.seek_screen import PLAIN, SeekScreen

_TURN_SPACING = 16
"""This part of the usual spacing is enough after the alternate screen was entered or left."""
UNSIZED = (40, 1000)
"""Columns that every terminal has, and rows that none has more of: for sessions without a terminal."""
LARGEST_SCREEN = 1000
"""Columns or rows above which there are no key points from then on: no terminal shows that."""


_HAPPENED = ("connection", "sql", "request")


class Scan:
    """The scan of *file*, which is open in binary mode at its start and can seek; FormatError if it is no recording."""

    def __init__(self, file: BinaryIO) -> None:
        self.points = KeyPoints()
        self.time = 0.0
        """The time up to which all has been found."""
        self.read = 0
        """Bytes read of the file."""
        self.is_over = False
        self.has_output = False
        self.happened: Counter[str] = Counter()
        """How many files, connections, statements, requests there were, by a word for each."""
        self._reader = Reader(file)
        header = self._reader.header
        self.columns, self.rows = self._size = (header.columns or 80, header.rows or 24)
        self._is_sized = header.terminal is not None
        self._filter = ScreenFilter(self._size if self._is_sized else None)
        self._screen = SeekScreen(*(self._size if self._is_sized else UNSIZED), is_sized=self._is_sized)
        self._entered, self._main = -1, -1
        self._stay = self._turns = 0
        self._is_followed = self._is_drawable()

    def run(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Scan to the end, to what cannot be read, or until *is_stopped* says so; what was found by then stays."""
        self._add_point()
        try:
            for entry in self._reader:
                if is_stopped():
                    return
                self._take(entry)
        except FormatError:
            pass  # whoever plays it comes to it, and says so
        self.is_over = True

    def covers(self, time: float) -> bool:
        """Whether nothing more will be found for *time*."""
        return self.is_over or self.time > time

    def _take(self, entry: Entry) -> None:
        offset = self._reader.whole  # the event that was given begins there
        if self._is_followed:
            self._note_point(offset)
        self._follow(entry, offset)
        if self._is_followed and self._screen.turns != self._turns:
            self._turn()
        self._is_followed = self._is_followed and not self._screen.is_odd
        self.read = offset
        self.time = entry.time

    def _follow(self, entry: Entry, offset: int) -> None:
        match entry.event:
            case FileHandled(operation) if operation in ("sent", "received"):
                self.happened["file"] += 1
            case Happened(what) if what in _HAPPENED:
                self.happened[what] += 1
            case Output() | ErrorOutput() if not self._is_followed:
                self.has_output = True
            case Output():
                self.has_output = True
                if self._filter.is_between and PLAIN.fullmatch(entry.text):
                    self._screen.feed_plain(entry.text)
                else:
                    self._screen.feed(self._filter.feed(entry.text))
            case ErrorOutput():
                self.has_output = True
                if text := self._filter.feed(entry.text):
                    self._screen.feed(f"\x1b[31m{text}\x1b[39m")  # as the player shows it
            case Resized(columns, rows) if self._is_sized:
                self._resize(columns or 80, rows or 24)
            case Noted():
                self.points.add_note(Note(entry.time, offset))

    def _resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = max(self.columns, columns), max(self.rows, rows)
        self._size = self._filter.area = (columns, rows)
        self._is_followed = self._is_followed and self._is_drawable()
        if self._is_followed:
            self._screen.resize(columns, rows)

    def _is_drawable(self) -> bool:
        return max(self._size) <= LARGEST_SCREEN

    def _note_point(self, offset: int) -> None:
        """Make a key point of *offset* if the last one is far enough, and all that it must hold is known."""
        passed = offset - self.points[-1].offset
        is_turned = self.points[-1].entered != self._entered
        if passed < (self.points.spacing // _TURN_SPACING if is_turned else self.points.spacing):
            return
        if self._filter.is_between and self._screen.place is not None:
            self._add_point()

    def _add_point(self) -> None:
        place = self._screen.place
        if place is None:
            raise ValueError("the cursor is anywhere")
        number = len(self.points)
        dropped = self.points.add(
            KeyPoint(
                offset=self._reader.whole,
                line=self._reader.whole_line,
                time=self.time,
                untold=self._reader.whole_untold,
                columns=self._size[0],
                rows=self._size[1],
                modes=self._screen.restore(),
                x=place[0],
                y=place[1],
                start=self._oldest() if number else 0,
                entered=self._entered,
                main=self._main,
            )
        )
        self._screen.age = number
        if dropped is not None:
            self._screen.renumber(dropped)
            self._main = dropped[self._main] if self._main >= 0 else -1

    def _oldest(self) -> int:
        """The number of the point to begin at for the screen as it is."""
        oldest = self._screen.oldest
        if self._entered >= 0 and self.points[oldest].entered != self._entered:
            oldest = min(oldest, self._main)
        return oldest

    def _turn(self) -> None:
        """Another screen is shown, or what was there turned out to depend on older things."""
        screen = self._screen
        self._turns = screen.turns
        if screen.stay != self._stay:
            self._stay = screen.stay
            self._entered = self._reader.offset if screen.stay else -1
            self._main = min(screen.hidden) if screen.stay else -1
        last = self.points[-1]
        last.start = min(last.start, self._oldest())
