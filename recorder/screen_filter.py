"""Recorded output made safe to show: what draws passes, what acts on the auditor's terminal or world does not.

A streaming filter over the grammar of `screen_grammar`, with an allow-list. Whatever is not on the list is dropped:
strings (titles, clipboard, hyperlinks, notifications, files, palettes, graphics, user-defined keys), queries that make
a terminal type an answer, printing, window operations, modes of keyboard, mouse and paste, clearing the scrollback,
and all C1 controls. Only whole sequences come out, written anew from their parts. The terminal must read UTF-8.
"""

from __future__ import annotations

import re
from functools import lru_cache

from recorder.screen_grammar import GRAMMAR, Action, State, kind_of

LONGEST_SEQUENCE = 256
LONGEST_STRING = 1 << 20
"""Characters after which a string that nothing ends is taken for text again."""

_LARGEST_NUMBER = 9999

_DEFAULTS = "\x1b[4l\x1b[?7h\x1b[?5l\x1b[?25h\x1b[m\x1b(B\x1b)B\x0f"
"""Everything a passed sequence may have switched, but for what moves the cursor: screen, origin mode, region."""

_TEXT = r"[^\x00-\x07\x10-\x1f\x7f-\x9f]++|\x1b\[[0-9;:]{0,64}m"
_RUN = re.compile(f"(?:{_TEXT})++")
_WHOLE = re.compile(r"\x1b\[([ -?]{0,64})([@-~])")
_INSIDE = re.compile(r"[^\x07\x0a\x18\x1a\x1b\x9c]+")
"""Text with its colours, a control sequence in one piece, what is inside a string: shortcuts, for speed only."""
_STRINGS = (State.LINE_STRING, State.DATA_STRING)
_MOST_RUNS = 16
"""Areas for which a filter has an expression of its own: making one takes longer than a recording a size."""

_ESCAPES = frozenset(
    ["7", "8", "D", "E", "M", "#3", "#4", "#5", "#6", "#8"]
    + [f"{g}{charset}" for g in "()*+" for charset in "0AB"]
)
_ALTERNATE = frozenset({"47", "1047", "1049"})
_MODES = {"": frozenset({"4"}), "?": frozenset({"5", "6", "7", "25", "1048"}) | _ALTERNATE}
_PARAMETERS = re.compile(r"([<=>?]*)([0-9;:]*)([ -/]*)")
_FREE = frozenset("@ABCDEFGHIJKLMPSTXZ`abdefr")
"""Control sequences without prefix or intermediates that only draw, whatever their numbers (but for those below)."""


class ScreenFilter:
    """Filters the output of one session; give it the text in any pieces. *area* may be changed between pieces."""

    def __init__(self, area: tuple[int, int] | None = None) -> None:
        self.area = area
        """Columns and rows, from the top left, that addressing and scrolling are kept in; None is the whole screen."""
        self.has_saved_cursor = False
        """Whether the recorded program holds the terminal's one saved cursor position."""
        self.is_alternate = False
        self._has_origin_mode = False
        self._state = State.GROUND
        self._sequence = ""
        self._string_room = LONGEST_STRING
        self._runs: dict[tuple[int, int] | None, re.Pattern[str]] = {}

    @property
    def is_between(self) -> bool:
        """Whether no sequence has begun that is not complete."""
        return self._state is State.GROUND

    def feed(self, text: str) -> str:
        """What of *text* may be shown; what is incomplete waits for more."""
        out: list[str] = []
        at = 0
        whole_run = self._run()
        while at < len(text):
            if self._state is State.GROUND and (run := whole_run.match(text, at)):
                out.append(run[0])
                at = run.end()
            elif self._state is State.GROUND and (whole := _WHOLE.match(text, at)):
                out.append(self._control(whole[1], whole[2]))
                at = whole.end()
            elif self._state in _STRINGS and (inside := _INSIDE.match(text, at, at + self._string_room)):
                self._string_room -= inside.end() - at
                at = inside.end()
            else:
                out.append(self._step(text[at]))
                at += 1
        return "".join(out)

    def _run(self) -> re.Pattern[str]:
        """What passes as it is, in the area there is now: a shortcut, for speed only."""
        if (run := self._runs.get(self.area)) is None:
            if len(self._runs) >= _MOST_RUNS:
                return _RUN
            run = self._runs[self.area] = _run_within(self.area)
        return run

    def _step(self, char: str) -> str:
        action, self._state = GRAMMAR.get((self._state, kind_of(char)), (Action.DROP, self._state))
        match action:
            case Action.SHOW:
                return char
            case Action.BEGIN:
                self._sequence, self._string_room = "", LONGEST_STRING
            case Action.COLLECT:
                self._sequence += char
                if len(self._sequence) > LONGEST_SEQUENCE:
                    self._sequence = ""
                    self._state = State.IGNORED if self._state is State.CONTROL else State.GROUND
            case Action.ESCAPE:
                return self._escape(self._sequence + char)
            case Action.CONTROL:
                return self._control(self._sequence, char)
            case Action.DROP:
                self._bound_string()
        return ""

    def _bound_string(self) -> None:
        if self._state in _STRINGS:
            self._string_room -= 1
            if self._string_room < 0:
                self._state = State.GROUND

    def region(self) -> str:
        """Confine scrolling to the area, with the cursor going home; without an area, to the whole screen."""
        return f"\x1b[1;{self.area[1]}r" if self.area else "\x1b[r"

    def restore(self) -> str:
        """Bring the terminal back, in place, from whatever was shown to what a shell expects."""
        return f"{self._leave_alternate()}{self._reset_modes()}\x1b7\x1b[r\x1b8"

    def _leave_alternate(self) -> str:
        was, self.is_alternate = self.is_alternate, False
        return "\x1b[?1049l" if was else ""  # which moves the cursor, even where there is nothing to leave

    def _reset_modes(self) -> str:
        was, self._has_origin_mode = self._has_origin_mode, False
        return f"\x1b[?6l{_DEFAULTS}" if was else _DEFAULTS  # the same

    def _escape(self, sequence: str) -> str:
        if sequence == "c":
            self.has_saved_cursor = False
            return f"{self._leave_alternate()}{self._reset_modes()}{self.region()}\x1b[H\x1b[2J"
        if sequence in ("7", "8"):
            self.has_saved_cursor = sequence == "7"
        return f"\x1b{sequence}" if sequence in _ESCAPES else ""

    def _control(self, parameters: str, final: str) -> str:
        if (parts := _PARAMETERS.fullmatch(parameters)) is None:
            return ""
        prefix, numbers, intermediates = parts.groups()
        if intermediates:
            return self._reset_softly() if (prefix, intermediates, final) == ("", "!", "p") else ""
        if final in "hl" and prefix in _MODES:
            return self._modes(prefix, numbers, final)
        if prefix == "?" and final in "JK" and numbers in ("", "0", "1", "2"):
            return f"\x1b[?{numbers}{final}"
        if prefix:
            return ""
        if final in "su" and not numbers:
            self.has_saved_cursor = final == "s"
            return f"\x1b[{final}"
        if final == "m":
            return f"\x1b[{numbers}m"
        return self._drawing(numbers, final) if final in _FREE and ":" not in numbers else ""

    def _reset_softly(self) -> str:
        self.has_saved_cursor = False
        return f"{self._reset_modes()}\x1b7{self.region()}\x1b8"

    def _modes(self, prefix: str, numbers: str, final: str) -> str:
        passed = [number for number in numbers.split(";") if number in _MODES[prefix]]
        if not _ALTERNATE.isdisjoint(passed):
            self.is_alternate = final == "h"
            self.has_saved_cursor = False  # each screen has its own
        if prefix and "6" in passed:
            self._has_origin_mode = final == "h"
        return "".join(f"\x1b[{prefix}{mode}{final}" for mode in passed)

    def _drawing(self, numbers: str, final: str) -> str:
        values = [min(int(number[:5]), _LARGEST_NUMBER) if number else None for number in numbers.split(";")]
        match final:
            case "J" | "K" if any((value or 0) > 2 for value in values):
                return ""  # 3 clears the scrollback, which is the auditor's
            case "T" if len(values) > 1:
                return ""  # mouse highlighting
            case "r":
                return self._margins(values)
            case "H" | "f":
                values = [self._within(value, axis) for value, axis in zip(values[:2], (1, 0), strict=False)]
            case "d":
                values = [self._within(values[0], 1)]
            case "G" | "`":
                values = [self._within(values[0], 0)]
        return "\x1b[" + ";".join("" if value is None else str(value) for value in values) + final

    def _within(self, value: int | None, axis: int) -> int | None:
        return value if value is None or self.area is None else min(value, max(self.area[axis], 1))

    def _margins(self, values: list[int | None]) -> str:
        if self.area is None:
            return "\x1b[" + ";".join("" if value is None else str(value) for value in values[:2]) + "r"
        top = values[0] or 1
        bottom = self._within(values[1] if len(values) > 1 else None, 1) or self.area[1]
        return f"\x1b[{top};{bottom}r" if top < bottom else ""


@lru_cache(maxsize=64)
def _run_within(area: tuple[int, int] | None) -> re.Pattern[str]:
    """Text, colours, and the control sequences that only draw and stay in *area* as they are."""
    column, row = (_at_most(side) for side in area or (_LARGEST_NUMBER, _LARGEST_NUMBER))
    sequences = (
        "(?:[1-9][0-9]{0,2})?[@A-FILMPSXZabe]",
        "[012]?[JK]",
        f"(?:{column})?[G`]",
        f"(?:{row})?d",
        f"(?:(?:{row})?(?:;(?:{column})?)?)[Hf]",
    )
    return re.compile(rf"(?:{_TEXT}|\x1b\[(?:{'|'.join(sequences)}))++")


def _at_most(side: int) -> str:
    """An expression for the numbers from 1 to *side*, written without zeros in front."""
    digits = str(min(max(side, 1), _LARGEST_NUMBER))
    parts = []
    for at, digit in enumerate(digits):
        first = 0 if at else 1
        if int(digit) > first:
            parts.append(f"{digits[:at]}[{first}-{int(digit) - 1}][0-9]{{{len(digits) - at - 1}}}")
    parts.append(digits)
    if len(digits) > 1:
        parts.append(f"[1-9][0-9]{{0,{len(digits) - 2}}}")
    return "|".join(parts)
