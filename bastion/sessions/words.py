"""The words of a command line that the shell of a target reads, where they are one program and its arguments.

Source: POSIX.1-2024, Shell Command Language, sections 2.2 and 2.3.
"""

from __future__ import annotations

_ACTIVE = {
    "": frozenset(";&|<>()$`{\n"),  # outside of quotes
    '"': frozenset("$`"),
    "'": frozenset[str](),
}
_ESCAPED_IN_QUOTES = frozenset('$`"\\')


def words_of(command: str) -> list[str]:
    """The words of *command*; none if a shell would do more with it than run one program, or cannot read it.

    Wildcards and ~ stay as they are: what becomes of them are arguments that name files.
    """
    words: list[str] = []
    word: str | None = None  # None between words
    quote = ""
    characters = iter(command)
    for character in characters:
        if character in _ACTIVE[quote] or (character == "#" and word is None):
            return []
        if character == "\\" and quote != "'":
            escaped = next(characters, "\n")
            if escaped == "\n":  # which joins lines, or is missing
                return []
            kept = "\\" if quote and escaped not in _ESCAPED_IN_QUOTES else ""
            word = f"{word or ''}{kept}{escaped}"
        elif quote:
            quote, word = ("", word) if character == quote else (quote, f"{word or ''}{character}")
        elif character in "'\"":
            quote, word = character, word or ""
        elif character in " \t":
            words += [] if word is None else [word]
            word = None
        else:
            word = f"{word or ''}{character}"
    if quote:
        return []
    return words if word is None else [*words, word]
