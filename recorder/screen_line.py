"""The one line of a terminal that the cursor is in, as far as output tells: what stands where.

Enough of a terminal to see what a line editor shows: cursor moves within the line, insertions, erasures, colours. A
move to another line begins a new one that is empty. Line feeds are the caller's: text is given without them.
"""

from __future__ import annotations

import re
import unicodedata

TAB_WIDTH = 8
LONGEST_LINE = 16 * 1024
"""Columns after which a line is forgotten and begins anew."""

LONGEST_SEQUENCE = 1024

_TOKEN = re.compile(
    r"\x1b\[(?P<parameters>[0-?]*)[ -/]*(?P<control>[@-~])"
    r"|\x1b[\]PX^_k][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[ -/]*(?P<escape>[0-~])"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_k][^\x07\x1b]*\x1b?|[ -/]*)\Z")
_ALTERNATE_SCREEN = ("?47", "?1047", "?1049")


class ScreenLine:
    """The line of the cursor on a terminal *width* columns wide (0: unknown, lines do not wrap)."""

    def __init__(self, width: int = 0) -> None:
        self.width = width
        self.column = 0
        self.trail = ""
        """The text that was written since the line began, in the order it was written, erased parts too."""
        self._cells: list[str] = []
        self._unfinished = ""
        self._saved_column = 0
        self._segment_start = 0
        self._written: set[int] = set()

    def begin(self) -> None:
        """A line feed: a new line."""
        self._move_away(0)
        self._unfinished = ""

    def text(self, start: int = 0) -> str:
        """What stands in the line from column *start* on."""
        return "".join(self._cells[start:])

    def mark(self) -> None:
        """Begin a segment, for `advance`."""
        self._segment_start = self.column
        self._written.clear()

    @property
    def has_written(self) -> bool:
        """Whether any text was written since `mark`."""
        return bool(self._written)

    def advance(self) -> str:
        """The text over which the cursor advanced since `mark`, if all of it was written since, else nothing."""
        columns = range(self._segment_start, self.column)
        if not all(column in self._written for column in columns):
            return ""
        return "".join(self._cells[columns.start : columns.stop])

    def feed(self, text: str) -> None:
        """Show *text*, which has no line feeds; a sequence that is cut waits for the rest."""
        text = self._unfinished + text
        self._unfinished = ""
        if (cut := _UNFINISHED.search(text)) is not None and len(cut[0]) <= LONGEST_SEQUENCE:
            text, self._unfinished = text[: cut.start()], cut[0]
        for token in _TOKEN.finditer(text):
            match token.lastgroup:
                case "text":
                    self._write(token["text"])
                case "control":
                    self._control(token["parameters"], token["control"])
                case "escape":
                    self._escape(token["escape"])
                case "other":
                    self._other(token["other"])

    def _write(self, text: str) -> None:
        self.trail += text
        for char in text:
            if (width := _width(char)) == 0 and self.column:
                self._cells[self.column - 1] += char
                continue
            self._pad()
            self._cells[self.column : self.column + width] = [char, ""][:width]
            self._written.update(range(self.column, self.column + width))
            self.column += width
        if self.column > LONGEST_LINE:
            self._move_away(0)

    def _pad(self) -> None:
        self._cells += [" "] * (self.column - len(self._cells))

    def _move_away(self, column: int) -> None:
        self._cells = []
        self.column = min(column, LONGEST_LINE)
        self.trail = ""
        self._segment_start = self.column
        self._written.clear()

    def _other(self, control: str) -> None:
        match control:
            case "\b":
                self.column = max(self.column - 1, 0)
            case "\t":
                self.column += TAB_WIDTH - self.column % TAB_WIDTH
                self._pad()
            case "\r" if self._has_wrapped():
                # Line editors bring a terminal over its edge with a space and a CR: the line goes on below.
                self.column -= 1
                del self._cells[self.column :]
                self._written.discard(self.column)
                self.trail = self.trail[:-1]
            case "\r":
                self.column = 0
            case "\v" | "\f":
                self._move_away(self.column)

    def _has_wrapped(self) -> bool:
        return (
            self.width > 0
            and self.column > self.width
            and self.column % self.width == 1
            and self.column == len(self._cells)
            and self._cells[-1] == " "
        )

    def _escape(self, letter: str) -> None:
        match letter:
            case "7":
                self._saved_column = self.column
            case "8":
                self.column = self._saved_column
            case "D" | "E" | "M" | "c":
                self._move_away(0 if letter in "Ec" else self.column)

    def _control(self, parameters: str, letter: str) -> None:
        numbers = [int(number[:5]) if number.isdigit() else 0 for number in parameters.split(";")]
        count = min(max(numbers[0], 1), LONGEST_LINE)
        match letter:
            case "C" | "D" | "G" | "`":
                self.column = {"C": self.column + count, "D": self.column - count}.get(letter, count - 1)
                self.column = min(max(self.column, 0), LONGEST_LINE)
            case "K" | "J" if letter == "K" or numbers[0] == 0:
                self._erase(numbers[0])
            case "P" | "@" | "X":
                self._shift(letter, count)
            case "s":
                self._saved_column = self.column
            case "u" if not parameters:
                self.column = self._saved_column
            case "h" | "l" if not set(_ALTERNATE_SCREEN).isdisjoint(parameters.split(";")):
                self._move_away(0)
            case "H" | "f":
                self._move_away(max(numbers[1] if len(numbers) > 1 else 1, 1) - 1)
            case _ if letter in "ABEFdJLMST":
                self._move_away(0 if letter in "EF" else self.column)

    def _shift(self, letter: str, count: int) -> None:
        """Delete (P), insert (@) or blank (X) *count* characters at the cursor."""
        self._pad()
        end = self.column if letter == "@" else self.column + count
        self._cells[self.column : end] = [] if letter == "P" else [" "] * count

    def _erase(self, which: int) -> None:
        if which == 0:
            del self._cells[self.column :]
        else:
            end = len(self._cells) if which == 2 else min(self.column + 1, len(self._cells))
            self._cells[:end] = [" "] * end


def _width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
