"""The rows of a screen as a program fills, moves and erases them, and which of their lines have become final.

A line is told once it is final (scrolled away, erased, left), and also when it is overwritten after it stood for a
second. Knows operations on cells, not the sequences that ask for them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from rich.cells import cell_len

SETTLED = 1.0
"""Seconds after which a line counts as seen, though it is overwritten then."""
LONGEST_LINE = 4096
OVERLAP = 256
"""Characters that the pieces of a longer line have in common, so that what is shorter is found across the cut."""
REMEMBERED = 2048
"""So many of the last lines are not told again when a program only draws them anew."""

_FILLER = "\0"
"""Stands in the second cell of a wide character."""

Tell = Callable[[float, str], None]


class _Row:
    __slots__ = ("is_new", "prefix", "text", "time", "wraps")

    def __init__(self) -> None:
        self.text = ""
        self.prefix = ""  # what scrolled away of the same long line
        self.time = 0.0
        self.is_new = False  # holds what has not been told
        self.wraps = False  # the line goes on in the next row


class SeenGrid:
    """Rows of cells with a cursor; *tell* gets each line, with the time when it last changed."""

    def __init__(self, columns: int, rows: int, tell: Tell) -> None:
        self.columns = columns
        self.x = self.y = 0
        self.saved = (0, 0)
        self.now = 0.0
        """The time of what is done next."""
        self.rows = [_Row() for _ in range(rows)]
        self.top, self.bottom = 0, rows - 1
        """The region that scrolls."""
        self._tell = tell
        self._main: list[_Row] | None = None  # while the alternate screen is shown
        self._told: OrderedDict[str, None] = OrderedDict()

    def resize(self, columns: int, rows: int) -> None:
        """The window changed: lines stay as they are, and what no longer fits at the top has scrolled away."""
        self.columns = columns
        while len(self.rows) > rows:
            if self.y >= rows:
                self._scroll_away(self.rows)
                self.y -= 1
            else:
                self._tell_row(self.rows, len(self.rows) - 1)
                self.rows.pop()
        self.rows += [_Row() for _ in range(rows - len(self.rows))]
        if self._main is not None:
            while len(self._main) > rows:
                self._scroll_away(self._main)
            self._main += [_Row() for _ in range(rows - len(self._main))]
        self.top, self.bottom = 0, rows - 1
        self.x, self.y = min(self.x, columns), min(self.y, rows - 1)

    def write(self, run: str) -> None:
        """Write text at the cursor, which wraps at the edge."""
        if not run.isascii():
            run = "".join(char + _FILLER if cell_len(char) == 2 else char for char in run)
        while run:
            if self.x >= self.columns:
                self.rows[self.y].wraps = True
                self.feed_line()
                self.x = 0
            row = self.rows[self.y]
            at = self.x
            piece = run[: self.columns - at]
            run = run[len(piece) :]
            self.x += len(piece)
            held = row.text
            if at == len(held):
                row.text = held + piece
            elif at > len(held):
                row.text = held.ljust(at) + piece
            elif held.startswith(piece, at):
                continue
            else:
                self._tell_if_seen(row)
                row.text = held[:at] + piece + held[at + len(piece) :]
            row.time, row.is_new = self.now, True

    def feed_line(self) -> None:
        """Move the cursor down; at the end of the region what is in it scrolls up."""
        if self.y == self.bottom:
            self.scroll_up(self.top)
        elif self.y < len(self.rows) - 1:
            self.y += 1

    def move(self, x: int, y: int) -> None:
        """Put the cursor there, as far as there is such a place."""
        self.x = min(max(x, 0), self.columns - 1)
        self.y = min(max(y, 0), len(self.rows) - 1)

    def confine(self, numbers: list[int]) -> None:
        """Scroll only the rows from, and to, these numbers (counted from 1) from now on."""
        top = max(numbers[0], 1) - 1
        bottom = (numbers[1] if len(numbers) > 1 else 0) or len(self.rows)
        if top < bottom <= len(self.rows):
            self.top, self.bottom = top, bottom - 1
        self.move(0, 0)

    def scroll_up(self, top: int) -> None:
        """Take the row at *top* away; those below it, to the end of the region, move up."""
        if top == 0 and self._main is None:
            self._scroll_away(self.rows)
        else:
            self._tell_row(self.rows, top, is_redraw=True)
            del self.rows[top]
        self.rows.insert(self.bottom, _Row())

    def scroll_down(self, top: int) -> None:
        """Take the last row of the region away; those from *top* on move down."""
        self._tell_row(self.rows, self.bottom, is_redraw=True)
        del self.rows[self.bottom]
        self.rows.insert(top, _Row())

    def erase(self, final: str, which: int) -> None:
        """ED (*final* J) or EL (K): after the cursor (0), before it (1), or all (2)."""
        match final, which:
            case "J", 0:
                self.erase_cells(self.x, None)
                self.erase_rows(self.y + 1, len(self.rows))
            case "J", 1:
                self.erase_rows(0, self.y)
                self.erase_cells(0, self.x + 1)
            case "J", 2:
                self.erase_rows(0, len(self.rows))
            case "K", 0:
                self.erase_cells(self.x, None)
            case "K", 1:
                self.erase_cells(0, self.x + 1)
            case "K", 2:
                self.erase_cells(0, None)

    def edit(self, final: str, count: int) -> None:
        """Insert, delete or scroll *count* characters or rows."""
        row, at = self.rows[self.y], self.x
        match final:
            case "X":
                self.erase_cells(at, at + count)
            case "P" if at < len(row.text):
                self._change(row, row.text[:at] + row.text[at + count :])
            case "@" if at < len(row.text):
                self._change(row, (row.text[:at] + " " * count + row.text[at:])[: self.columns])
            case "L" | "M" if self.top <= self.y <= self.bottom:
                for _ in range(min(count, self.bottom - self.y + 1)):
                    self.scroll_down(self.y) if final == "L" else self.scroll_up(self.y)
            case "S" | "T":
                for _ in range(min(count, self.bottom - self.top + 1)):
                    self.scroll_up(self.top) if final == "S" else self.scroll_down(self.top)

    def erase_cells(self, start: int, stop: int | None) -> None:
        """Blank the cells of the cursor's row from *start* to before *stop*, or the end."""
        row = self.rows[self.y]
        if stop is None or stop >= len(row.text):
            row.wraps = False
            changed = row.text[:start]
        else:
            changed = row.text[:start] + " " * (stop - start) + row.text[stop:]
        if changed != row.text:
            self._change(row, changed)

    def erase_rows(self, start: int, stop: int) -> None:
        """Programs that draw pages erase and draw; what a shell's `clear` takes away had been printed for good."""
        for at in range(start, stop):
            row = self.rows[at]
            if self._main is None or self.now - row.time >= SETTLED:
                self._tell_row(self.rows, at, is_redraw=True)
        for at in range(start, stop):
            self.rows[at] = _Row()

    def enter_alternate(self) -> None:
        """Show the alternate screen, empty; the main one waits."""
        if self._main is None:
            self._main, self.rows = self.rows, [_Row() for _ in self.rows]
            self.saved = (self.x, self.y)

    def leave_alternate(self) -> None:
        """Show the main screen again, as it was."""
        if self._main is not None:
            self.tell_all(is_redraw=True)
            self.rows, self._main = self._main, None
            self.top, self.bottom = 0, len(self.rows) - 1
            self.move(*self.saved)

    def tell_all(self, *, is_redraw: bool = False) -> None:
        """Tell the lines that stand on the screen."""
        for at in range(len(self.rows)):
            self._tell_row(self.rows, at, is_redraw=is_redraw)

    def _scroll_away(self, rows: list[_Row]) -> None:
        """Take the top row away for good. The end of a long line takes its beginning along until it is whole."""
        row = rows.pop(0)
        if not row.wraps or not rows:
            self._tell_text(row.time, row.prefix + row.text, row.is_new)
            return
        text, rest = row.prefix + row.text, rows[0]
        rest.is_new = rest.is_new or row.is_new
        rest.time = max(rest.time, row.time)
        if len(text) >= LONGEST_LINE:
            self._tell_text(row.time, text, row.is_new)
            text = text[-OVERLAP:]
        rest.prefix = text

    def _change(self, row: _Row, text: str) -> None:
        self._tell_if_seen(row)
        row.text, row.time, row.is_new = text, self.now, True

    def _tell_if_seen(self, row: _Row) -> None:
        """Before a change: tell the line of *row* if somebody could have read it."""
        if row.is_new and self.now - row.time >= SETTLED:
            self._tell_row(self.rows, self.rows.index(row), is_redraw=True)

    def _tell_row(self, rows: list[_Row], at: int, *, is_redraw: bool = False) -> None:
        """Tell the whole line that the row *at* is a part of."""
        first = last = at
        while first > 0 and rows[first - 1].wraps:
            first -= 1
        while rows[last].wraps and last + 1 < len(rows):
            last += 1
        parts = rows[first : last + 1]
        is_new = any(part.is_new for part in parts)
        if is_new:
            text = parts[0].prefix + "".join(part.text for part in parts)
            self._tell_text(max(part.time for part in parts), text, is_new, is_redraw=is_redraw)
        for part in parts:
            part.is_new = False

    def _tell_text(self, time: float, text: str, is_new: bool, *, is_redraw: bool = False) -> None:
        text = text.replace(_FILLER, "").strip()
        if not is_new or not text:
            return
        if text in self._told:
            self._told.move_to_end(text)
            if is_redraw:
                return
        self._told[text] = None
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        self._tell(time, text)
