"""The words of a command line that the shell of a target reads, where they are one program and its arguments."""

from __future__ import annotations

import shlex

_ACTIVE = {
    "": frozenset(";&|<>()$`\n"),  # outside of quotes
    '"': frozenset("$`"),
    "'": frozenset(),
}


def words_of(command: str) -> list[str]:
    """The words of *command*; none if a shell would do more with it than run one program, or cannot read it.

    Wildcards, braces and ~ stay as they are: what becomes of them are still arguments.
    """
    quote, is_escaped = "", False
    for character in command:
        if is_escaped:
            is_escaped = False
        elif character == "\\" and quote != "'":
            is_escaped = True
        elif character in _ACTIVE[quote]:
            return []
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    try:
        return shlex.split(command)
    except ValueError:
        return []
