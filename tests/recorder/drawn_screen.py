"""What a terminal would show: pyte, and what it lacks of what the player lets through."""

from __future__ import annotations

import copy
import re
from typing import Any

import pyte
import pyte.modes
import pyte.screens

_REPEATED = re.compile(r"(.)\x1b\[(\d*)b", re.DOTALL)
_SCROLLED = re.compile(r"\x1b\[(\d*)([ST])")


class _Screen(pyte.Screen):
    """A screen with an alternate one, and with scrolling by request."""

    def __init__(self, columns: int, lines: int) -> None:
        self._main: tuple[Any, ...] | None = None
        super().__init__(columns, lines)

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        if kwargs.get("private") and {47, 1047, 1049} & set(modes) and self._main is None:
            self._main = (
                copy.deepcopy(self.buffer),
                copy.deepcopy(self.cursor),
                self.g0_charset,
                self.g1_charset,
                self.charset,
                copy.deepcopy(self.savepoints),
            )
            self.savepoints.clear()
            self.buffer.clear()
        super().set_mode(*modes, **kwargs)

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        if kwargs.get("private") and {47, 1047, 1049} & set(modes) and self._main is not None:
            buffer, cursor, *charsets, self.savepoints[:] = self._main
            self.buffer.clear()
            self.buffer.update(buffer)
            if 1049 in modes:
                cursor.hidden = self.cursor.hidden
                self.cursor = cursor
                self.g0_charset, self.g1_charset, self.charset = charsets
            self._main = None
        super().reset_mode(*modes, **kwargs)

    def save_cursor(self) -> None:  # one place, no stack
        self.savepoints.clear()
        super().save_cursor()

    def restore_cursor(self) -> None:
        saved, is_hidden = copy.deepcopy(self.savepoints), self.cursor.hidden
        super().restore_cursor()
        self.savepoints[:], self.cursor.hidden = saved, is_hidden

    def cursor_down(self, count: int | None = None) -> None:  # margins hold who is inside them
        margins = self.margins or pyte.screens.Margins(0, self.lines - 1)
        stop = margins.bottom if self.cursor.y <= margins.bottom else self.lines - 1
        self.cursor.y = min(self.cursor.y + (count or 1), stop)

    def cursor_up(self, count: int | None = None) -> None:
        margins = self.margins or pyte.screens.Margins(0, self.lines - 1)
        stop = margins.top if self.cursor.y >= margins.top else 0
        self.cursor.y = max(self.cursor.y - (count or 1), stop)

    def scroll(self, count: int, final: str) -> None:
        x, y = self.cursor.x, self.cursor.y
        margins = self.margins or pyte.screens.Margins(0, self.lines - 1)
        for _ in range(min(count, self.lines)):
            self.cursor.y = margins.bottom if final == "S" else margins.top
            self.index() if final == "S" else self.reverse_index()
        self.cursor.x, self.cursor.y = x, y


class DrawnScreen:
    """Feed it what the player wrote."""

    def __init__(self, columns: int, rows: int) -> None:
        self._screen = _Screen(columns, rows)
        self._stream = pyte.Stream(self._screen)

    def feed(self, text: str) -> None:
        text = text.replace("\x1bE", "\r\n")
        text = _REPEATED.sub(lambda found: found[1] * (1 + min(int(found[2] or 1), 500)), text)
        at = 0
        for scrolled in _SCROLLED.finditer(text):
            self._stream.feed(text[at : scrolled.start()])
            self._screen.scroll(int(scrolled[1] or 1), scrolled[2])
            at = scrolled.end()
        self._stream.feed(text[at:])

    def look(self, columns: int, rows: int) -> object:
        """All that can be seen in that area, and what decides how it goes on."""
        screen = self._screen
        cells = [
            # pyte does not colour all cells that are erased.
            [" " if (cell := screen.buffer[row][column]).data == " " else cell for column in range(columns)]
            for row in range(rows)
        ]
        return cells, (screen.cursor.x, screen.cursor.y, screen.cursor.hidden), screen.cursor.attrs
