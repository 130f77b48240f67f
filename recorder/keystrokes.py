"""What a terminal sends, taken apart into keys: those that carry text, and those that only steer.

A key that carries text may belong to a secret. Enter, Tab, Ctrl-C, the cursor and function keys do not: they are named
here one by one, and whatever is not among them counts as text that no echo can show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LINE_ENDS = frozenset((b"\r", b"\n", b"\x03", b"\x1a", b"\x1c"))
"""Enter, Ctrl-J, and the keys that abandon a line: Ctrl-C, Ctrl-Z, Ctrl-\\."""

ERASES_ONE = frozenset((b"\x7f", b"\x08"))
ERASES_LINE = b"\x15"

_STEERING = re.compile(
    rb"\x1b\[[0-9;]*[A-DFHIOP-SZcn]"  # cursor, Home, End, F1 to F4, focus, answers to queries
    rb"|\x1b\[(?:[1-9]|1[0-9]|2[0-4]|2[5689]|3[1-4]|200|201)(?:;[0-9]{1,2})?~"  # Ins, Del, pages, F5 on, paste
    rb"|\x1b\[<[0-9;]*[Mm]"  # mouse
    rb"|\x1bO[A-DFHMP-SX]"  # cursor and function keys in application mode
)
# Left out on purpose: `CSI … u`, `CSI 27;…~` and `CSI … _` are whole keyboards in numbers, letters among them.


@dataclass(slots=True)
class Key:
    """One key: its bytes, and its character. *text* is None for a key that only steers, "" if nothing can echo it.

    *is_clear* says whether it may be written down; None while nobody knows. *is_passed* is set once other output came
    after it than its echo.
    """

    data: bytes
    text: str | None
    is_clear: bool | None
    is_passed: bool = False


class Keystrokes:
    """Takes input apart; a character that is cut waits in *incomplete* for its rest."""

    def __init__(self) -> None:
        self.incomplete = b""

    def take(self, data: bytes) -> list[Key]:
        """The keys in *data*. A sequence counts as a steering key only if it came in one piece."""
        data, self.incomplete = self.incomplete + data, b""
        keys: list[Key] = []
        at = 0
        while at < len(data):
            first = data[at]
            if first == 0x1B and (sequence := _STEERING.match(data, at)) is not None:
                keys.append(Key(sequence[0], None, is_clear=True))
                at = sequence.end()
            elif first < 0x20 or first == 0x7F:
                keys.append(Key(data[at : at + 1], None, is_clear=True))
                at += 1
            elif len(data) - at < (length := _length(first)) and _is_beginning(data[at:]):
                self.incomplete = data[at:]
                break
            else:
                keys.append(_character(data[at : at + length]))
                at += len(keys[-1].data)
        return keys


def _length(first: int) -> int:
    return 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _is_beginning(data: bytes) -> bool:
    """Whether more bytes could make *data* a character."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and error.start == 0
    return False


def _character(data: bytes) -> Key:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return Key(data[:1], "", is_clear=None)
    return Key(data, text if text.isprintable() or text == "\u3000" else "", is_clear=None)
