"""What a terminal can do, by the name of its kind (TERM). No terminfo: a server cannot know its clients' databases."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FULL = (
    "xterm", "screen", "tmux", "rxvt", "alacritty", "foot", "kitty", "wezterm", "ghostty", "konsole", "putty", "st",
    "cygwin", "mintty", "nsterm", "iterm", "gnome", "vte", "contour", "eterm", "dtterm", "rio", "zellij",
)  # fmt: skip
_PLAIN = ("vt", "linux", "ansi", "cons", "sun", "wyse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What a terminal that can move its cursor can show beyond ASCII in bold and reverse."""

    colour: bool
    unicode: bool

    @property
    def ellipsis(self) -> str:
        return "…" if self.unicode else "~"


def abilities_of(term: str) -> Abilities | None:
    """What the terminal of that TERM can do; None if it cannot move its cursor, or nobody knows."""
    family = re.split(r"[-.]", term.lower(), maxsplit=1)[0].rstrip("0123456789")
    if family in _FULL:
        return Abilities(colour=True, unicode=True)
    if family in _PLAIN:
        return Abilities(colour=family == "linux", unicode=False)
    return None
