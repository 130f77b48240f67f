"""The modes that colour and shape what a program draws next, and the sequences that bring a terminal into them.

Follows what the ScreenFilter lets through. Knows no screen: where the cursor is, and what stands on the rows, is
`seek_screen`'s.
"""

from __future__ import annotations

import re

_COLOURS = re.compile(r"\x1b\[([0-9;:]*)m")
_RESETS = ("\x1b[m", "\x1b[0m")
_MOST_COLOURS = 24
"""So many different settings since the last reset are remembered; after more nothing is said until the next reset."""
_SWITCHES = {"4": "l", "?5": "l", "?7": "h", "?25": "h"}
"""Insertion, reverse screen, wrapping, visible cursor: what each is at the start."""

Remembered = tuple[list[str] | None, dict[str, str], str, str]


class Modes:
    """All modes but the margins; at first those of a terminal that has just been reset."""

    def __init__(self) -> None:
        self._colours: list[str] | None = []
        self._charsets = dict.fromkeys("()*+", "B")
        self._shift = "\x0f"
        self._has_usual_charsets = True  # as nothing else was ever chosen
        self._is_forgotten = False
        self._switches = dict(_SWITCHES)

    @property
    def is_known(self) -> bool:
        """Whether `restore` can say all of them."""
        return self._colours is not None and not self._is_forgotten and self._switches["?7"] != ""

    def forget(self) -> None:
        """They may be others now: colours until they are reset, character sets for good."""
        self._colours = None
        self._is_forgotten = not self._has_usual_charsets

    def colour(self, text: str) -> None:
        """Follow the colours (SGR) in *text*."""
        if "\x1b" not in text:
            return
        at = max(text.rfind(reset) for reset in _RESETS)
        if at >= 0:
            self._colours = []
        for match in _COLOURS.finditer(text, max(at, 0)):
            self._set_colour(match[1])

    def _set_colour(self, colour: str) -> None:
        if colour == "" or colour == "0" or colour.startswith("0;"):
            self._colours = []
        if self._colours is None or colour in ("", "0"):
            return
        if colour in self._colours:  # only the last of the same matters
            self._colours.remove(colour)
        self._colours.append(colour)
        if len(self._colours) > _MOST_COLOURS:
            self._colours = None

    def shift(self, char: str) -> None:
        """SO or SI."""
        self._shift = char
        self._has_usual_charsets = self._has_usual_charsets and char == "\x0f"

    def charset(self, which: str, name: str) -> None:
        self._charsets[which] = name
        self._has_usual_charsets = self._has_usual_charsets and name == "B"

    def switch(self, mode: str, final: str) -> None:
        """Set (h) or reset (l) *mode*, if it is one of these."""
        if mode in self._switches:
            self._switches[mode] = final

    def remembered(self) -> Remembered:
        """What a saved cursor holds, for `recall`."""
        colours = None if self._colours is None else list(self._colours)
        return colours, dict(self._charsets), self._shift, self._switches["?7"]

    def recall(self, remembered: Remembered) -> None:
        colours, charsets, self._shift, wraps = remembered
        if wraps != self._switches["?7"]:  # some terminals hold that too, others do not
            self._switches["?7"] = ""
        self._colours = None if colours is None else list(colours)
        self._charsets = dict(charsets)

    def restore(self) -> str:
        """What brings a terminal into these modes from any others."""
        switches = "".join(f"\x1b[{mode}{final}" for mode, final in self._switches.items())
        charsets = "".join(f"\x1b{which}{name}" for which, name in self._charsets.items())
        colours = "".join(f"\x1b[{colour}m" for colour in ("", *(self._colours or ())))
        return f"{switches}{charsets}{self._shift}{colours}"
