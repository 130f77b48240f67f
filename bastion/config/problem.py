"""One problem of a configuration, as data: where it is, what is wrong, what to do.

Says nothing about how problems are found or shown as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning"]

_LONGEST_VALUE = 60
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """*path* is the setting (`targets[3].port`; empty for the whole file), *value* what stood there, if harmless."""

    severity: Severity
    file: Path
    path: str
    message: str
    hint: str = ""
    value: str | None = None

    @property
    def line(self) -> str:
        """Place, value and message, without the file and the hint."""
        place = f"{self.path} = {self.value}" if self.value is not None else self.path
        return f"{place}: {self.message}" if place else self.message

    def __str__(self) -> str:
        return f"{self.line}\n  {self.hint}" if self.hint else self.line


def dotted(location: Sequence[str | int]) -> str:
    """Write a place in TOML data as people read it: `targets[3].labels."my key"`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else shown(part))
    return text


def shown(value: str) -> str:
    """*value* in quotes on one line, without control characters, cut when it is long."""
    if len(value) > _LONGEST_VALUE:
        value = value[:_LONGEST_VALUE] + "…"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped) + '"'


def harmless(value: object) -> str | None:
    """*value* as it may be printed; None for whole tables and for what may hold a secret."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str() if "PRIVATE KEY" not in value and not ("@" in value and ":" in value):
            return shown(value)
        case _:
            return None
