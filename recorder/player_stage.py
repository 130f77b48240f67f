"""The recorded screen on the viewer's terminal: what to write for an entry, a resize, the status line, the end.

Pure: it gives text and writes nothing. The recorded screen is kept in the top left corner, no larger than it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from recorder.events import ErrorOutput, Noted, Output, Resized
from recorder.header import Header
from recorder.player_status import KEYS
from recorder.reader import Entry
from recorder.screen_filter import ScreenFilter
from recorder.seek_points import KeyPoint
from recorder.terminal.abilities import Abilities
from recorder.terminal.text import cut, fit

_ASIDE = "\x1b7\x1b[?6l\x1b[m\x1b(B\x0f"
"""Remember cursor, colours and character sets, which ESC 8 brings back, and address the whole screen."""


class Stage:
    """Without *look* (a terminal that cannot move its cursor) only the recording's own output is written."""

    def __init__(self, header: Header, look: Abilities | None) -> None:
        self.size: tuple[int, int] | None = None
        """Columns and rows of the recorded terminal at this point; None if it had none."""
        self.note = ""
        self._header = header
        self._look = look
        self._room = (80, 24)
        self._filter: ScreenFilter | None = None

    @property
    def has_status_row(self) -> bool:
        """Whether the last row of the terminal is below the recorded screen."""
        return self._area[1] < self._room[1]

    @property
    def is_cursor_saved(self) -> bool:
        """Whether the recorded program holds the saved cursor, so that drawing aside would move it."""
        return self._filter is not None and self._filter.has_saved_cursor

    @property
    def _area(self) -> tuple[int, int]:
        columns, rows = self.size or (self._room[0], self._room[1] - 1)
        return columns, max(min(rows, self._room[1]), 1)

    def begin(self, room: tuple[int, int]) -> str:
        """Clear a terminal of *room* columns and rows, for a replay from the start."""
        first = self._filter is None
        restored = self._filter.restore() if self._filter else ""
        self._room, self.note = room, ""
        self.size = (
            (self._header.columns or 80, self._header.rows or 24)
            if self._header.terminal is not None
            else None
        )
        self._filter = ScreenFilter(self._area if self._look else None)
        if self._look is None:
            return "" if first else "\r\n"
        kept = "\r\n" * room[1] if first else ""  # what stood there goes up into the scrollback
        return f"{restored}{kept}{self._filter.region()}\x1b[H\x1b[2J"

    def enter(self, point: KeyPoint) -> str:
        """What to write for the terminal to be as it was at *point*, but for what stood on it.

        It goes through the filter, as all that is shown.
        """
        if self._filter is None:
            raise ValueError("the stage has not begun")
        if self._look is None:
            return ""
        resized = ""
        if self.size is not None:
            self.size = (point.columns, point.rows)
            resized = self._resize(self._filter)
        enters = "\x1b[?1049h" if point.entered >= 0 and not self._filter.is_alternate else ""
        place = f"\x1b[{point.y + 1};{point.x + 1}H"
        # CAN: what was shown before may have ended within a sequence.
        return resized + self._filter.feed(f"\x18{enters}{point.modes}{place}")

    def show(self, entry: Entry) -> str:
        """What to write for *entry*."""
        if self._filter is None:
            raise ValueError("the stage has not begun")
        match entry.event:
            case Output():
                return self._filter.feed(entry.text)
            case ErrorOutput():
                text = self._filter.feed(entry.text)
                return f"\x1b[31m{text}\x1b[39m" if text and self._look and self._look.colour else text
            case Resized(columns, rows) if self.size is not None:
                self.size = (columns or 80, rows or 24)
                return self._resize(self._filter)
            case Noted(note):
                self.note = note
        return ""

    def _resize(self, screen: ScreenFilter) -> str:
        if self._look is None:
            return ""
        screen.area = self._area
        below = f"\x1b[{self._area[1] + 1};1H\x1b[J" if self.has_status_row else ""
        return f"{_ASIDE}{screen.region()}{below}\x1b8"

    def status(self, line: str) -> str:
        """Write *line* on the last row and come back."""
        return f"{_ASIDE}\x1b[{self._room[1]};1H\x1b[7m{line}\x1b[m\x1b8"

    def keys(self) -> str:
        """Write the page of keys over the recording."""
        columns = max(self._room[0] - 1, 1)
        lines = [fit(f" {key:<11} {what}", min(columns, 54)) for key, what in KEYS][: self._room[1]]
        return (
            _ASIDE
            + "".join(f"\x1b[{row};1H\x1b[7m{line}" for row, line in enumerate(lines, start=1))
            + "\x1b[m\x1b8"
        )

    def notice(self, lines: Sequence[str]) -> str:
        """Write *lines* at the top of a cleared screen."""
        if self._look is None:
            return "".join(f"{line}\r\n" for line in lines)
        return "\x1b[H\x1b[2J" + "\r\n".join(cut(line, self._room[0] - 1) for line in lines[: self._room[1]])

    def end(self) -> str:
        """Leave the terminal as a shell expects it, on a line of its own below the recording's last."""
        if self._filter is None:
            return ""
        if self._look is None:
            return "\r\n"
        status = f"{_ASIDE}\x1b[{self._room[1]};1H\x1b[2K\x1b8" if self.has_status_row else ""
        return f"{status}{self._filter.restore()}\r\n\x1b[K"
