"""Which part of a recording the screen at some point is made of, without knowing what stands on it.

Each row has an age: the number of the latest key point that is early enough to draw the row from. Text changes no age;
a row that is blanked, or scrolls in, gets the age of now. The smallest age of all rows is where to begin. The cursor is
followed as far as it is certain: characters have one or two cells, a terminal may be wider than the recorded one, and
what is uncertain is a range. All that is unclear makes rows older, never younger. Takes what the ScreenFilter passed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

from recorder.seek_modes import Modes, Remembered

PLAIN = re.compile(r"(?:[^\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]++|\x1b\[[0-9;:]{0,64}m)*+")
"""Text and colours, which the filter passes as they are."""
_PLAIN = re.compile(r"(?:[^\x1b\x0b\x0c\x0e\x0f]++|\x1b\[[0-9;:]*[mKGCDPX@a`])++")
"""Text, and what moves and changes within its row."""
_IN_ROW = re.compile(r"([^\x1b\t\b]+)|\x1b\[([0-9;:]*)([KGCDPX@a`])|[\t\b]")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_SEQUENCE = re.compile(r"\x1b(?:\[(\??)([0-9;]*)([@-~])|([()*+#]?)(.))", re.DOTALL)
_ALTERNATE = frozenset({"47", "1047", "1049"})


@dataclass(slots=True)
class _Cursor:
    """In one of the rows *low* to *high*, and column *x*, which is the largest possible one where not *is_exact*."""

    low: int = 0
    high: int = 0
    x: int = 0
    is_exact: bool = True


class SeekScreen:
    """A screen of *columns* and *rows*; *age* is what rows get that are blanked from now on.

    Where it is not *is_sized* the terminal it will be shown on may have any size up to that, and fewer columns.
    """

    def __init__(self, columns: int, rows: int, *, is_sized: bool = True) -> None:
        self.modes = Modes()
        self.age = 0
        self.turns = 0
        """Grows whenever `oldest` may have become smaller."""
        self.stay = 0
        """The number of this stay on the alternate screen; 0 on the main one."""
        self.columns = columns
        self.ages = [0] * rows
        self.hidden = [0] * rows
        """The ages of the rows of the screen that is not shown."""
        self._stays = 0
        self._age_at_entry = 0
        self._top, self._bottom = 0, rows - 1
        self._cursor = _Cursor()
        self._drawn_from: int | None = 0  # the cursor's row has been written from its start since this age
        self._saved: tuple[_Cursor, Remembered, bool] | None = None
        self._saved_age = 0
        self._is_held = False  # a cursor is saved, and will be restored
        self._entered_with: tuple[_Cursor, Remembered, bool] | None = None
        self._is_lost = False  # below the screen
        self._is_sized = is_sized
        self.is_odd = False
        """Whether something has happened that is not followed here: then all stays as it is, which is not wrong."""

    @property
    def oldest(self) -> int:
        """The smallest age of the rows that are shown."""
        return min(self.ages)

    @property
    def place(self) -> tuple[int, int] | None:
        """Column and row of the cursor, from 0, if that and the modes are all there is to know; else None."""
        cursor = self._cursor
        is_simple = not (self._is_held or self._is_lost or self.is_odd)
        if is_simple and cursor.low == cursor.high and cursor.is_exact and self.modes.is_known:
            return cursor.x, cursor.low
        return None

    def restore(self) -> str:
        """What brings a terminal that shows the right screen of this size into the modes and margins of now."""
        margins = f"\x1b[{self._top + 1};{self._bottom + 1}r" if self._is_sized else ""
        return f"{margins}{self.modes.restore()}"

    def renumber(self, numbers: list[int]) -> None:
        """Key points have been dropped: age n is *numbers[n]* now."""
        self.ages = [numbers[age] for age in self.ages]
        self.hidden = [numbers[age] for age in self.hidden]
        self.age, self._saved_age = numbers[self.age], numbers[self._saved_age]
        self._age_at_entry = numbers[self._age_at_entry]
        self._drawn_from = None if self._drawn_from is None else numbers[self._drawn_from]

    def resize(self, columns: int, rows: int) -> None:
        """The window changed: the player confines what is drawn to it, and leaves what stands there."""
        cursor = self._cursor
        self._is_lost = self._is_lost or cursor.high >= rows
        for ages in (self.ages, self.hidden):
            oldest = min(ages)
            del ages[rows:]
            ages += [oldest] * (rows - len(ages))
        self.columns = columns
        self._top, self._bottom = 0, rows - 1
        self._drawn_from = None
        if self._is_lost:
            cursor.low, cursor.high = 0, rows - 1
        cursor.is_exact = cursor.is_exact and cursor.x < columns
        cursor.x = min(cursor.x, columns)
        self._remember()  # as the player does
        if self._entered_with is not None:
            self._entered_with = (_anywhere(columns, rows), self._entered_with[1], True)

    def feed(self, text: str) -> None:
        """Follow *text*, which holds whole sequences only."""
        at = 0
        while at < len(text) and not self.is_odd:
            if plain := _PLAIN.match(text, at):
                self.feed_plain(plain[0])
                at = plain.end()
            elif sequence := _SEQUENCE.match(text, at):
                private, numbers, final, intermediate, escape = sequence.groups()
                if final is not None:
                    self._control(private, numbers, final)
                else:
                    self._escape(intermediate, escape)
                at = sequence.end()
            else:
                self._other(text[at])
                at += 1

    def feed_plain(self, text: str) -> None:
        """Follow *text*, which is PLAIN: the same, only sooner."""
        if not self.is_odd:
            self.modes.colour(text)
            self._plain(text)

    def _other(self, char: str) -> None:
        if char in "\x0b\x0c":
            self._line_feeds(1, 1)
        elif char in "\x0e\x0f":
            self.modes.shift(char)

    # Text.

    def _plain(self, text: str) -> None:
        if "\n" not in text:
            self._in_rows(text) if "\r" in text else self._in_row(text)
            return
        count = text.count("\n")
        if self._cursor.low == self._cursor.high == self._bottom:
            start = text.rfind("\r")
            is_all_new = count > self._bottom - self._top  # however often it wraps
            most = 0 if is_all_new or self._fits(text) else len(text) * 2 // self.columns + count
            self._line_feeds(count, count + most)
            if start >= 0:
                self._go_to_column(0)
            self._in_row(text[start + 1 :].replace("\n", ""))
            return
        for number, line in enumerate(text.split("\n")):
            if number:
                self._line_feeds(1, 1)
            self._in_rows(line)

    def _fits(self, text: str) -> bool:
        """Whether none of the lines of *text* can wrap."""
        if "\x1b" in text:
            text = _COLOUR.sub("", text)
            if "\x1b" in text:
                return False
        if "\t" in text:
            return False
        width = 1 if text.isascii() else 2
        lines = text.split("\n")
        first = self._cursor.x + len(lines[0]) * width
        return first < self.columns and max(map(len, lines)) * width < self.columns

    def _in_rows(self, line: str) -> None:
        for number, part in enumerate(line.split("\r")):
            if number:
                self._go_to_column(0)
            self._in_row(part)

    def _in_row(self, text: str) -> None:
        if "\x1b" in text:
            text = _COLOUR.sub("", text)
        whole = text.removesuffix("\x1b[K")  # as most programs draw their rows
        if "\x1b" not in whole and "\t" not in whole and "\b" not in whole:
            if whole:
                self._write(whole)
            if whole != text:
                self._erase_in_row("")
            return
        for token in _IN_ROW.finditer(text):
            if token[1]:
                self._write(token[1])
            else:
                self._within_row(token[2] or "", token[3] or token[0])

    def _write(self, text: str) -> None:
        cursor = self._cursor
        is_narrow = text.isascii()
        end = cursor.x + len(text) * (1 if is_narrow else 2)
        if end < self.columns:
            cursor.x = end
            cursor.is_exact = cursor.is_exact and is_narrow
        else:
            cursor.is_exact = False
            cursor.x = self.columns
            if end > self.columns:
                self._line_feeds(0, (end - 1) // self.columns)
                self._drawn_from = None

    def _within_row(self, numbers: str, final: str) -> None:
        cursor = self._cursor
        count = max(_number(numbers), 1)
        match final:
            case "K":
                self._erase_in_row(numbers)
                return
            case "G" | "`":
                self._go_to_column(count - 1)
                return
            case "C" | "a":
                self._move_to(cursor.x + count)
            case "D" | "\b" if cursor.x < self.columns:  # else it may be far beyond, in a wider terminal
                self._move_to(max(cursor.x - count, 0))
            case "\t":
                self._move_to((cursor.x // 8 + 1) * 8)
        self._drawn_from = None

    def _erase_in_row(self, numbers: str) -> None:
        cursor = self._cursor
        if cursor.low == cursor.high and not self._is_lost:
            if numbers in ("", "0") and self._drawn_from is not None:
                self.ages[cursor.low] = max(self.ages[cursor.low], self._drawn_from)
            elif numbers == "2":
                self.ages[cursor.low] = self.age

    def _go_to_column(self, x: int) -> None:
        self._cursor.is_exact = True
        self._move_to(x)
        self._drawn_from = self.age if x == 0 else None

    def _move_to(self, x: int) -> None:
        """A wider terminal stops later than the recorded one."""
        cursor = self._cursor
        cursor.is_exact = cursor.is_exact and x < self.columns
        cursor.x = min(x, self.columns)

    # Rows.

    def _line_feeds(self, least: int, most: int) -> None:
        """The cursor goes down at least so many rows, and at most so many."""
        cursor, bottom = self._cursor, self._bottom
        is_whole = self._top == 0 and bottom == len(self.ages) - 1
        if most:
            self._drawn_from = self.age if cursor.is_exact and cursor.x == 0 else None
        if self._is_lost:
            self._mix(0, len(self.ages) - 1)
        elif is_whole or cursor.high <= bottom:
            self._scroll(max(least - bottom + cursor.low, 0), max(most - bottom + cursor.high, 0))
            cursor.low, cursor.high = min(cursor.low + least, bottom), min(cursor.high + most, bottom)
        elif cursor.low > bottom:
            self._leave_region(cursor.low + least, cursor.high + most)
        else:
            self._mix(self._top, bottom)
            self._leave_region(min(cursor.low + least, bottom), cursor.high + most)

    def _leave_region(self, low: int, high: int) -> None:
        """The cursor is below the region, where a terminal with more rows than the recorded one lets it go on."""
        last = len(self.ages) - 1
        self._cursor.low, self._cursor.high = min(low, last), min(high, last)
        if high > last:
            self._is_lost = True
            self._cursor.low = 0

    def _scroll(self, least: int, most: int) -> None:
        """The region moves up by at least so many rows, and at most so many."""
        if most == 0:
            return
        part = slice(self._top, self._bottom + 1)
        rows = self.ages[part]
        if least >= len(rows):
            self.ages[part] = [self.age] * len(rows)
        elif least == most:
            self.ages[part] = rows[least:] + [self.age] * least
        else:
            oldest = list(accumulate(reversed(rows), min))[::-1]  # of each row and those below it
            self.ages[part] = oldest[least:] + [self.age] * least

    def _mix(self, first: int, last: int) -> None:
        """Nobody knows which of these rows is where now."""
        self.ages[first : last + 1] = [min(self.ages[first : last + 1])] * (last + 1 - first)

    def _edit_rows(self, final: str, count: int) -> None:
        """IL and DL at the cursor, SU and SD of the region."""
        cursor = self._cursor
        first = self._top
        if final in "LM":
            self._drawn_from = None
            cursor.is_exact = cursor.is_exact and cursor.x == 0  # some terminals go to the first column
            if cursor.high < self._top or cursor.low > self._bottom:
                return
            if self._is_lost or cursor.low != cursor.high:
                self._mix(min(self._top, cursor.low), self._bottom)
                return
            first = cursor.low
        part = slice(first, self._bottom + 1)
        rows = self.ages[part]
        blank = [self.age] * min(count, len(rows))
        kept = len(rows) - len(blank)
        self.ages[part] = blank + rows[:kept] if final in "LT" else rows[len(blank) :] + blank

    def _erase_page(self, numbers: str) -> None:
        cursor, last = self._cursor, len(self.ages) - 1
        match numbers:
            case "2":
                self.ages = [self.age] * (last + 1)
            case "" | "0" if not self._is_lost:
                self.ages[cursor.high + 1 :] = [self.age] * (last - cursor.high)
                self._erase_in_row(numbers)
            case "1" if not self._is_lost:
                self.ages[: cursor.low] = [self.age] * cursor.low

    # Sequences.

    def _escape(self, intermediate: str, char: str) -> None:
        if intermediate == "#" or not (self._is_sized or intermediate):
            self.is_odd = True
        elif intermediate:
            self.modes.charset(intermediate, char)
        elif char in "78":
            self._save() if char == "7" else self._recall()
        elif char == "D":
            self._line_feeds(1, 1)
        elif char == "E":
            self._go_to_column(0)
            self._line_feeds(1, 1)
        elif char == "M":
            self._reverse_feed()

    def _reverse_feed(self) -> None:
        cursor = self._cursor
        self._drawn_from = None
        if cursor.low == cursor.high == self._top and not self._is_lost:
            self._edit_rows("T", 1)
        elif cursor.low > self._top or cursor.high < self._top:
            cursor.low, cursor.high = max(cursor.low - 1, 0), max(cursor.high - 1, 0)
        else:
            self._mix(self._top, self._bottom)
            cursor.low = max(cursor.low - 1, 0)

    def _save(self) -> None:
        self._remember()
        self._is_held = True

    def _remember(self) -> None:
        self._saved = (_copy(self._cursor), self.modes.remembered(), self._is_lost)
        self._saved_age = self.age

    def _recall(self) -> None:
        self._drawn_from = None
        if not self._is_held:
            self._doubt(self._saved_age)
        self._is_held = False
        if self._saved is None:
            self._lose_cursor()
            self.modes.forget()
            return
        cursor, modes, self._is_lost = self._saved
        self._cursor = _copy(cursor)
        self.modes.recall(modes)

    def _doubt(self, age: int) -> None:
        """What follows, on any row, is right only if all since *age* was played."""
        self.age = min(self.age, age)
        self.ages = [min(row, age) for row in self.ages]
        self.turns += 1

    def _lose_cursor(self) -> None:
        self._cursor = _anywhere(self.columns, len(self.ages))

    def _control(self, private: str, numbers: str, final: str) -> None:
        self.is_odd = self.is_odd or not self._is_sized
        if final in "hl":
            self._switch(private, numbers, final)
        elif private:
            pass  # erasing of what is not protected: as if it were not there
        elif final == "J":
            self._erase_page(numbers)
        elif final in "LMST":
            self._edit_rows(final, max(_number(numbers), 1))
        elif final == "r":
            self._confine(numbers)
        elif final in "su":
            self._save() if final == "s" else self._recall()
        elif final == "b":
            self._write("\u3000" * max(_number(numbers), 1))
        else:
            self._address(numbers, final)

    def _confine(self, numbers: str) -> None:
        top, _, bottom = numbers.partition(";")
        first, last = max(_number(top), 1) - 1, (_number(bottom) or len(self.ages)) - 1
        if first < last < len(self.ages):
            self._top, self._bottom = first, last
        else:
            self.is_odd = True  # a region that we do not know
        self._go_to(0, 0)

    def _go_to(self, x: int, y: int) -> None:
        self._is_lost = False
        y = min(y, len(self.ages) - 1)
        self._cursor.low = self._cursor.high = y
        self._go_to_column(x)

    def _address(self, numbers: str, final: str) -> None:
        first, _, second = numbers.partition(";")
        count = max(_number(first), 1)
        match final:
            case "H" | "f":
                self._go_to(max(_number(second), 1) - 1, count - 1)
            case "d":
                cursor = self._cursor
                x, is_exact = cursor.x, cursor.is_exact
                self._go_to(x, count - 1)
                cursor.is_exact = is_exact and cursor.is_exact
                self._drawn_from = None
            case "A" | "F":
                self._go_up(count)
            case "B" | "E" | "e":
                self._go_down(count)
            case "I" | "Z":
                self._cursor.is_exact, self._cursor.x = False, self.columns
                self._drawn_from = None
        if final in "EF":
            self._go_to_column(0)

    def _go_up(self, count: int) -> None:
        cursor, top = self._cursor, self._top
        self._drawn_from = None
        stop = top if cursor.low >= top else 0
        cursor.low = max(cursor.low - count, stop)
        cursor.high = max(cursor.high - count, top if cursor.high >= top else 0)

    def _go_down(self, count: int) -> None:
        cursor, bottom = self._cursor, self._bottom
        self._drawn_from = None
        if cursor.high <= bottom:
            cursor.low, cursor.high = min(cursor.low + count, bottom), min(cursor.high + count, bottom)
        else:
            low = min(cursor.low + count, bottom) if cursor.low <= bottom else cursor.low + count
            self._leave_region(low, cursor.high + count)

    def _switch(self, private: str, mode: str, final: str) -> None:
        if not private or mode not in _ALTERNATE | {"6", "1048"}:
            self.modes.switch(f"{private}{mode}", final)
        elif mode == "6":
            self.is_odd = self.is_odd or final == "h"
            self._lose_cursor()
            self._drawn_from = None
        elif mode == "1048":
            self._save() if final == "h" else self._recall()
        elif final == "h":
            self._enter(mode)
        else:
            self._leave(mode)

    def _enter(self, mode: str) -> None:
        self.turns += 1
        self._saved, self._saved_age, self._is_held = None, 0, False
        if self.stay:
            self._entered_with = None  # saved once more, or not: terminals differ
            return
        self._stays += 1
        self.stay, self._age_at_entry = self._stays, self.age
        remembered = (_copy(self._cursor), self.modes.remembered(), self._is_lost)
        self._entered_with = remembered if mode == "1049" else None
        self.ages, self.hidden = self.hidden, self.ages
        if mode == "1049":
            self.ages = [self.age] * len(self.ages)
        self._drawn_from = None

    def _leave(self, mode: str) -> None:
        self._saved, self._saved_age, self._is_held = None, 0, False
        self._drawn_from = None
        if not self.stay:
            if mode != "47":  # which restores a cursor, or clears, where there is nothing to leave
                self._lose_cursor()
                self.modes.forget()
                self._doubt(0)
            return
        self.stay = 0
        self.ages, self.hidden = self.hidden, self.ages
        self._doubt(self._age_at_entry)
        if self._entered_with is not None and mode == "1049":
            self._cursor, modes, self._is_lost = self._entered_with
            self.modes.recall(modes)
        else:
            self._lose_cursor()
            self.modes.forget()


def _anywhere(columns: int, rows: int) -> _Cursor:
    return _Cursor(0, rows - 1, columns, is_exact=False)


def _copy(cursor: _Cursor) -> _Cursor:
    return _Cursor(cursor.low, cursor.high, cursor.x, cursor.is_exact)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
