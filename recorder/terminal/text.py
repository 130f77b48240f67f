"""Text from outside, made fit for one line of a terminal: no control characters, and so many cells wide.

Names and descriptions are data. A control character could move the cursor or send a sequence, and a bidirectional
override could make one name look like another.
"""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len, split_graphemes

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: str) -> str:
    """*text* on one line without anything a terminal would act on: what cannot be seen becomes U+FFFD."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if char in "\t\r\n" or category == "Zs":
        return " "
    return "\ufffd" if category in _INVISIBLE else char


def width(text: str) -> int:
    """Cells that plain *text* takes."""
    return cell_len(text)


def cut(text: str, cells: int, *, ellipsis: str = "…") -> str:
    """Plain *text* in at most *cells* cells, with an ellipsis where something is left out."""
    if width(text) <= cells:
        return text
    room = cells - width(ellipsis)
    if room < 0:
        return ""
    kept, used = 0, 0
    for _, end, size in split_graphemes(text)[0]:
        if used + size > room:
            break
        kept, used = end, used + size
    return text[:kept].rstrip() + ellipsis


def fit(text: str, cells: int, *, ellipsis: str = "…") -> str:
    """Plain *text* in exactly *cells* cells."""
    short = cut(text, cells, ellipsis=ellipsis)
    return short + " " * (cells - width(short))
