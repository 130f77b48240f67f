"""The lines that somebody at a terminal could read, made out of what a program wrote to it.

Takes the escape sequences apart and does on a small screen (`search_grid`) what they ask for, as far as that decides
which text stands in which line. So a page of a full-screen program is found, and the thousand states of a progress bar
are not. Knows neither files nor what the lines are for.
"""

from __future__ import annotations

import re

from recorder.screen_grammar import GRAMMAR, Action, State, kind_of
from recorder.search_grid import SeenGrid, Tell

LONGEST_SEQUENCE = 256

_RUN = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
_WHOLE = re.compile(r"\x1b\[([ -?]{0,64})([@-~])")
_INSIDE = re.compile(r"[^\x07\x0a\x18\x1a\x1b\x9c]+")
_STRINGS = (State.LINE_STRING, State.DATA_STRING)
_LINE_DRAWING = re.compile(r"[`-~]")
_LARGEST = 9999


class SeenScreen:
    """Feed it the output of one session; *tell* gets each line, with the time when it last changed."""

    def __init__(self, columns: int, rows: int, tell: Tell) -> None:
        self._grid = SeenGrid(columns, rows, tell)
        self._charsets = ["B", "B"]
        self._shift = 0
        self._state = State.GROUND
        self._sequence = ""

    def feed(self, time: float, text: str) -> None:
        """The program wrote *text* at *time*, in any pieces."""
        self._grid.now = time
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
        """The window changed."""
        self._grid.resize(columns, rows)

    def end(self) -> None:
        """Nothing follows: tell what is left on the screen."""
        self._grid.leave_alternate()
        self._grid.tell_all()

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
                self._grid.feed_line()
            case "\r":
                self._grid.x = 0
            case "\b":
                self._grid.x = max(min(self._grid.x, self._grid.columns - 1) - 1, 0)
            case "\t":
                self._grid.x = min((self._grid.x // 8 + 1) * 8, self._grid.columns - 1)
            case "\x0e" | "\x0f":
                self._shift = int(char == "\x0e")
            case _ if char.isprintable():
                self._write(char)

    def _write(self, text: str) -> None:
        if self._charsets[self._shift] == "0":
            text = _LINE_DRAWING.sub(" ", text)
        self._grid.write(text)

    def _escape(self, intermediates: str, final: str) -> None:
        match intermediates, final:
            case "", "7":
                self._grid.saved = (self._grid.x, self._grid.y)
            case "", "8":
                self._grid.move(*self._grid.saved)
            case "", "D":
                self._grid.feed_line()
            case "", "E":
                self._grid.x = 0
                self._grid.feed_line()
            case "", "M" if self._grid.y == self._grid.top:
                self._grid.scroll_down(self._grid.top)
            case "", "M":
                self._grid.move(self._grid.x, self._grid.y - 1)
            case "", "c":
                self._grid.leave_alternate()
                self._grid.erase_rows(0, len(self._grid.rows))
                self._grid.move(0, 0)
                self._grid.top, self._grid.bottom = 0, len(self._grid.rows) - 1
            case (("(" | ")"), _):
                self._charsets["()".index(intermediates)] = final

    def _control(self, parameters: str, final: str) -> None:
        if parameters.startswith("?"):
            if final in "hl" and {"47", "1047", "1049"} & set(parameters[1:].split(";")):
                self._grid.enter_alternate() if final == "h" else self._grid.leave_alternate()
            if final not in "JK":
                return
            parameters = parameters[1:]
        numbers = [int(number[:5]) if number.isdecimal() else 0 for number in parameters.split(";")]
        if final in "JK":
            self._grid.erase(final, numbers[0])
        elif final == "r":
            self._grid.confine(numbers)
        elif final == "s":
            self._grid.saved = (self._grid.x, self._grid.y)
        elif final == "u":
            self._grid.move(*self._grid.saved)
        elif final in "@PXLMST":
            self._grid.edit(final, min(numbers[0] or 1, _LARGEST))
        else:
            self._move_by(final, numbers)

    def _move_by(self, final: str, numbers: list[int]) -> None:
        count = min(numbers[0] or 1, _LARGEST)
        match final:
            case "A":
                self._grid.move(self._grid.x, self._grid.y - count)
            case "B" | "e":
                self._grid.move(self._grid.x, self._grid.y + count)
            case "C" | "a":
                self._grid.move(self._grid.x + count, self._grid.y)
            case "D":
                self._grid.move(self._grid.x - count, self._grid.y)
            case "E":
                self._grid.move(0, self._grid.y + count)
            case "F":
                self._grid.move(0, self._grid.y - count)
            case "G" | "`":
                self._grid.move(count - 1, self._grid.y)
            case "d":
                self._grid.move(self._grid.x, count - 1)
            case "H" | "f":
                self._grid.move((numbers[1] if len(numbers) > 1 else 1) - 1, count - 1)
