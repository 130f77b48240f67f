"""The lines that somebody at a terminal could read, made out of what a program wrote to it.

A small screen: it wraps, scrolls, erases, moves and has an alternate screen, as far as that decides which text stands
in which line. A line is told once it is final (scrolled away, erased, left), and also when it is overwritten after it
stood for a second: so a page of a full-screen program is found, and the thousand states of a progress bar are not.
Knows neither files nor what the lines are for.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable

from rich.cells import cell_len

from recorder.screen_grammar import GRAMMAR, Action, State, kind_of

SETTLED = 1.0
"""Seconds after which a line counts as seen, though it is overwritten then."""
LONGEST_LINE = 4096
OVERLAP = 256
"""Characters that the pieces of a longer line have in common, so that what is shorter is found across the cut."""
LONGEST_SEQUENCE = 256
REMEMBERED = 2048
"""So many of the last lines are not told again when a program only draws them anew."""

_RUN = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
_WHOLE = re.compile(r"\x1b\[([ -?]{0,64})([@-~])")
_INSIDE = re.compile(r"[^\x07\x0a\x18\x1a\x1b\x9c]+")
_STRINGS = (State.LINE_STRING, State.DATA_STRING)
_LINE_DRAWING = re.compile(r"[`-~]")
_FILLER = "\0"
"""Stands in the second cell of a wide character."""
_LARGEST = 9999

Tell = Callable[[float, str], None]


class _Row:
    __slots__ = ("is_new", "prefix", "text", "time", "wraps")

    def __init__(self) -> None:
        self.text = ""
        self.prefix = ""  # what scrolled away of the same long line
        self.time = 0.0
        self.is_new = False  # holds what has not been told
        self.wraps = False  # the line goes on in the next row


class SeenScreen:
    """Feed it the output of one session; *tell* gets each line, with the time when it last changed."""

    def __init__(self, columns: int, rows: int, tell: Tell) -> None:
        self._columns = columns
        self._tell = tell
        self._now = 0.0
        self._rows = [_Row() for _ in range(rows)]
        self._main: list[_Row] | None = None  # while the alternate screen is shown
        self._x = self._y = 0
        self._saved = (0, 0)
        self._top, self._bottom = 0, rows - 1
        self._charsets = ["B", "B"]
        self._shift = 0
        self._state = State.GROUND
        self._sequence = ""
        self._told: OrderedDict[str, None] = OrderedDict()

    def feed(self, time: float, text: str) -> None:
        """The program wrote *text* at *time*, in any pieces."""
        self._now = time
        at = 0
        while at < len(text):
            if self._state is State.GROUND and (run := _RUN.match(text, at)):
                self._write(run[0])
                at = run.end()
            elif self._state is State.GROUND and (whole := _WHOLE.match(text, at)):
                self._control(whole[1], whole[2])
                at = whole.end()
            elif self._state in _STRINGS and (inside := _INSIDE.match(text, at)):
                at = inside.end()
            else:
                self._step(text[at])
                at += 1

    def resize(self, columns: int, rows: int) -> None:
        """The window changed: lines stay as they are, and what no longer fits at the top has scrolled away."""
        self._columns = columns
        while len(self._rows) > rows:
            if self._y >= rows:
                self._scroll_away(self._rows)
                self._y -= 1
            else:
                self._tell_row(self._rows, len(self._rows) - 1)
                self._rows.pop()
        self._rows += [_Row() for _ in range(rows - len(self._rows))]
        if self._main is not None:
            while len(self._main) > rows:
                self._scroll_away(self._main)
            self._main += [_Row() for _ in range(rows - len(self._main))]
        self._top, self._bottom = 0, rows - 1
        self._x, self._y = min(self._x, columns), min(self._y, rows - 1)

    def end(self) -> None:
        """Nothing follows: tell what is left on the screen."""
        self._leave_alternate()
        self._tell_all()

    def _step(self, char: str) -> None:
        action, self._state = GRAMMAR.get((self._state, kind_of(char)), (Action.DROP, self._state))
        match action:
            case Action.SHOW:
                self._draw(char)
            case Action.BEGIN:
                self._sequence = ""
            case Action.COLLECT:
                self._sequence += char
                if len(self._sequence) > LONGEST_SEQUENCE:
                    self._state = State.IGNORED if self._state is State.CONTROL else State.GROUND
            case Action.ESCAPE:
                self._escape(self._sequence, char)
            case Action.CONTROL:
                self._control(self._sequence, char)

    def _draw(self, char: str) -> None:
        match char:
            case "\n" | "\v" | "\f":
                self._feed_line()
            case "\r":
                self._x = 0
            case "\b":
                self._x = max(min(self._x, self._columns - 1) - 1, 0)
            case "\t":
                self._x = min((self._x // 8 + 1) * 8, self._columns - 1)
            case "\x0e" | "\x0f":
                self._shift = int(char == "\x0e")
            case _ if char.isprintable():
                self._write(char)

    def _write(self, run: str) -> None:
        if self._charsets[self._shift] == "0":
            run = _LINE_DRAWING.sub(" ", run)
        if not run.isascii():
            run = "".join(char + _FILLER if cell_len(char) == 2 else char for char in run)
        while run:
            if self._x >= self._columns:
                self._rows[self._y].wraps = True
                self._feed_line()
                self._x = 0
            row = self._rows[self._y]
            at = self._x
            piece = run[: self._columns - at]
            run = run[len(piece) :]
            self._x += len(piece)
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
            row.time, row.is_new = self._now, True

    def _feed_line(self) -> None:
        if self._y == self._bottom:
            self._scroll_up(self._top)
        elif self._y < len(self._rows) - 1:
            self._y += 1

    def _scroll_up(self, top: int) -> None:
        """Take the row at *top* away; those below it, to the end of the region, move up."""
        if top == 0 and self._main is None:
            self._scroll_away(self._rows)
        else:
            self._tell_row(self._rows, top, is_redraw=True)
            del self._rows[top]
        self._rows.insert(self._bottom, _Row())

    def _scroll_down(self, top: int) -> None:
        self._tell_row(self._rows, self._bottom, is_redraw=True)
        del self._rows[self._bottom]
        self._rows.insert(top, _Row())

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

    def _tell_if_seen(self, row: _Row) -> None:
        """Before a change: tell the line of *row* if somebody could have read it."""
        if row.is_new and self._now - row.time >= SETTLED:
            self._tell_row(self._rows, self._rows.index(row), is_redraw=True)

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

    def _tell_all(self, *, is_redraw: bool = False) -> None:
        for at in range(len(self._rows)):
            self._tell_row(self._rows, at, is_redraw=is_redraw)

    def _escape(self, intermediates: str, final: str) -> None:
        match intermediates, final:
            case "", "7":
                self._saved = (self._x, self._y)
            case "", "8":
                self._move(*self._saved)
            case "", "D":
                self._feed_line()
            case "", "E":
                self._x = 0
                self._feed_line()
            case "", "M" if self._y == self._top:
                self._scroll_down(self._top)
            case "", "M":
                self._move(self._x, self._y - 1)
            case "", "c":
                self._leave_alternate()
                self._erase_rows(0, len(self._rows))
                self._move(0, 0)
                self._top, self._bottom = 0, len(self._rows) - 1
            case (("(" | ")"), _):
                self._charsets["()".index(intermediates)] = final

    def _control(self, parameters: str, final: str) -> None:
        if parameters.startswith("?"):
            if final in "hl" and {"47", "1047", "1049"} & set(parameters[1:].split(";")):
                self._enter_alternate() if final == "h" else self._leave_alternate()
            if final not in "JK":
                return
            parameters = parameters[1:]
        numbers = [int(number[:5]) if number.isdecimal() else 0 for number in parameters.split(";")]
        if final in "JK":
            self._erase(final, numbers[0])
        elif final == "r":
            self._confine(numbers)
        elif final == "s":
            self._saved = (self._x, self._y)
        elif final == "u":
            self._move(*self._saved)
        elif final in "@PXLMST":
            self._edit(final, min(numbers[0] or 1, _LARGEST))
        else:
            self._move_by(final, numbers)

    def _move_by(self, final: str, numbers: list[int]) -> None:
        count = min(numbers[0] or 1, _LARGEST)
        match final:
            case "A":
                self._move(self._x, self._y - count)
            case "B" | "e":
                self._move(self._x, self._y + count)
            case "C" | "a":
                self._move(self._x + count, self._y)
            case "D":
                self._move(self._x - count, self._y)
            case "E":
                self._move(0, self._y + count)
            case "F":
                self._move(0, self._y - count)
            case "G" | "`":
                self._move(count - 1, self._y)
            case "d":
                self._move(self._x, count - 1)
            case "H" | "f":
                self._move((numbers[1] if len(numbers) > 1 else 1) - 1, count - 1)

    def _move(self, x: int, y: int) -> None:
        self._x = min(max(x, 0), self._columns - 1)
        self._y = min(max(y, 0), len(self._rows) - 1)

    def _confine(self, numbers: list[int]) -> None:
        top = max(numbers[0], 1) - 1
        bottom = (numbers[1] if len(numbers) > 1 else 0) or len(self._rows)
        if top < bottom <= len(self._rows):
            self._top, self._bottom = top, bottom - 1
        self._move(0, 0)

    def _erase(self, final: str, which: int) -> None:
        match final, which:
            case "J", 0:
                self._erase_cells(self._x, None)
                self._erase_rows(self._y + 1, len(self._rows))
            case "J", 1:
                self._erase_rows(0, self._y)
                self._erase_cells(0, self._x + 1)
            case "J", 2:
                self._erase_rows(0, len(self._rows))
            case "K", 0:
                self._erase_cells(self._x, None)
            case "K", 1:
                self._erase_cells(0, self._x + 1)
            case "K", 2:
                self._erase_cells(0, None)

    def _edit(self, final: str, count: int) -> None:
        row, at = self._rows[self._y], self._x
        match final:
            case "X":
                self._erase_cells(at, at + count)
            case "P" if at < len(row.text):
                self._change(row, row.text[:at] + row.text[at + count :])
            case "@" if at < len(row.text):
                self._change(row, (row.text[:at] + " " * count + row.text[at:])[: self._columns])
            case "L" | "M" if self._top <= self._y <= self._bottom:
                for _ in range(min(count, self._bottom - self._y + 1)):
                    self._scroll_down(self._y) if final == "L" else self._scroll_up(self._y)
            case "S" | "T":
                for _ in range(min(count, self._bottom - self._top + 1)):
                    self._scroll_up(self._top) if final == "S" else self._scroll_down(self._top)

    def _erase_cells(self, start: int, stop: int | None) -> None:
        row = self._rows[self._y]
        if stop is None or stop >= len(row.text):
            row.wraps = False
            changed = row.text[:start]
        else:
            changed = row.text[:start] + " " * (stop - start) + row.text[stop:]
        if changed != row.text:
            self._change(row, changed)

    def _change(self, row: _Row, text: str) -> None:
        self._tell_if_seen(row)
        row.text, row.time, row.is_new = text, self._now, True

    def _erase_rows(self, start: int, stop: int) -> None:
        """Programs that draw pages erase and draw; what a shell's `clear` takes away had been printed for good."""
        for at in range(start, stop):
            row = self._rows[at]
            if self._main is None or self._now - row.time >= SETTLED:
                self._tell_row(self._rows, at, is_redraw=True)
        for at in range(start, stop):
            self._rows[at] = _Row()

    def _enter_alternate(self) -> None:
        if self._main is None:
            self._main, self._rows = self._rows, [_Row() for _ in self._rows]
            self._saved = (self._x, self._y)

    def _leave_alternate(self) -> None:
        if self._main is not None:
            self._tell_all(is_redraw=True)
            self._rows, self._main = self._main, None
            self._top, self._bottom = 0, len(self._rows) - 1
            self._move(*self._saved)
