"""The lines that somebody typed, made out of the keys they pressed.

Understands what line editors commonly do with a key: rubbing out, moving, killing. What a program completes or takes
from its history is not among the keys; it stands in the output.
"""

from __future__ import annotations

from collections.abc import Callable

from recorder.screen_grammar import GRAMMAR, Action, State, kind_of
from recorder.search_grid import LONGEST_LINE, OVERLAP, Tell
from recorder.search_screen import LONGEST_SEQUENCE

_HOME = frozenset({"H", "1~", "7~"})
_END = frozenset({"F", "4~", "8~"})


class TypedLines:
    """Feed it the input of one session; *tell* gets each line when it is entered or given up."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._line: list[str] = []
        self._at = 0
        self._time = 0.0
        self._state = State.GROUND
        self._sequence = ""
        self._is_shifted = False  # after SS3, which keypads send

    def feed(self, time: float, text: str) -> None:
        """Keys came at *time*, in any pieces."""
        for char in text:
            self._time = time
            self._step(char)

    def end(self) -> None:
        """Nothing follows: tell the line that was not entered."""
        text = "".join(self._line).strip()
        self._line.clear()
        self._at = 0
        if text:
            self._tell(self._time, text)

    def _step(self, char: str) -> None:
        if self._is_shifted:
            self._is_shifted = False
            self._key(char)
            return
        if self._state is State.GROUND and char != "\x1b":
            self._press(char)
            return
        action, self._state = GRAMMAR.get((self._state, kind_of(char)), (Action.DROP, self._state))
        match action:
            case Action.BEGIN:
                self._sequence = ""
            case Action.COLLECT:
                self._sequence = (self._sequence + char)[-LONGEST_SEQUENCE:]
            case Action.ESCAPE:
                self._is_shifted = char == "O" and not self._sequence
            case Action.CONTROL:
                self._key(self._sequence + char)
            case Action.SHOW:
                self._press(char)

    def _press(self, char: str) -> None:
        if (edit := _EDITS.get(char)) is not None:
            edit(self)
        elif char.isprintable():
            self._line.insert(self._at, char)
            self._at += 1
            if len(self._line) >= LONGEST_LINE:
                kept = self._line[-OVERLAP:]
                self.end()
                self._line, self._at = kept, len(kept)

    def _go(self, to: int) -> None:
        self._at = min(max(to, 0), len(self._line))

    def _kill(self, start: int, stop: int) -> None:
        del self._line[max(start, 0) : stop]
        self._at = max(start, 0)

    def _kill_word(self) -> None:
        before = "".join(self._line[: self._at]).rstrip()
        self._kill(before.rfind(" ") + 1, self._at)

    def _key(self, key: str) -> None:
        if key == "D":
            self._go(self._at - 1)
        elif key == "C":
            self._go(self._at + 1)
        elif key in _HOME:
            self._go(0)
        elif key in _END:
            self._go(len(self._line))
        elif key == "3~":
            self._kill(self._at, self._at + 1)


_EDITS: dict[str, Callable[[TypedLines], None]] = {
    "\r": TypedLines.end,
    "\n": TypedLines.end,
    "\x03": TypedLines.end,  # Ctrl-C: given up, and typed all the same
    "\x7f": lambda typed: typed._kill(typed._at - 1, typed._at),
    "\b": lambda typed: typed._kill(typed._at - 1, typed._at),
    "\x15": lambda typed: typed._kill(0, typed._at),  # Ctrl-U
    "\x0b": lambda typed: typed._kill(typed._at, len(typed._line)),  # Ctrl-K
    "\x17": TypedLines._kill_word,  # Ctrl-W
    "\x01": lambda typed: typed._go(0),  # Ctrl-A
    "\x05": lambda typed: typed._go(len(typed._line)),  # Ctrl-E
    "\x02": lambda typed: typed._go(typed._at - 1),  # Ctrl-B
    "\x06": lambda typed: typed._go(typed._at + 1),  # Ctrl-F
}
