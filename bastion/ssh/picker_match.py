"""Which entries a filter finds, how well, and which letters to highlight. Pure, and fast for thousands of entries.

Every word of the filter must be found: in the name (best at its start), in the description and labels, as the kind,
or else as letters scattered in the name in that order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from recorder.terminal.text import plain

_LONGEST_DETAILS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that can be picked. *logins* come best first; one with `*` or `?` is a pattern to type against.

    *address* is what ssh would call it, where it is not its name.
    """

    name: str
    kind: str = "ssh"
    description: str = ""
    logins: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


class Row:
    """An entry made ready to be searched and shown: plain text, and the same in lower case."""

    __slots__ = ("details", "entry", "kind", "lower_details", "lower_name", "name")

    def __init__(self, entry: Entry) -> None:
        labels = " ".join(f"{key}={value}" for key, value in entry.labels.items())
        details = "  ".join(part for part in (entry.description, labels) if part)
        self.entry = entry
        self.name = plain(entry.name)
        self.kind = plain(entry.kind)
        self.details = plain(details)[:_LONGEST_DETAILS]
        self.lower_name = _lower(self.name)
        self.lower_details = _lower(self.details)


@dataclass(slots=True)
class Match:
    """A row that was found: the smaller the *score* the better; the marks are positions of letters to highlight."""

    row: Row
    score: int = 0
    name_marks: set[int] = field(default_factory=set)
    details_marks: set[int] = field(default_factory=set)


def search(rows: Iterable[Row], query: str) -> list[Match]:
    """The rows in which every word of *query* is found, best first, else in their own order."""
    words = [_lower(word) for word in query.split()]
    found = [match for row in rows if (match := _match(row, words))]
    if words:
        found.sort(key=lambda match: match.score)  # stable: equals stay in their order
    return found


def _match(row: Row, words: list[str]) -> Match | None:
    match = Match(row)
    for word in words:
        if not _find(match, word):
            return None
    return match


def _find(match: Match, word: str) -> bool:
    row = match.row
    if (at := row.lower_name.find(word)) >= 0:
        match.name_marks.update(range(at, at + len(word)))
        exact = len(word) == len(row.name)
        tier = 0 if exact else 1 if at == 0 else 2 if not row.lower_name[at - 1].isalnum() else 3
        match.score += tier * 1000 + min(len(row.name), 99)
    elif (at := row.lower_details.find(word)) >= 0:
        match.details_marks.update(range(at, at + len(word)))
        match.score += (4 if at == 0 or not row.lower_details[at - 1].isalnum() else 5) * 1000
    elif row.kind.startswith(word):
        match.score += 5000
    elif marks := _scattered(row.lower_name, word):
        match.name_marks.update(marks)
        match.score += 6000 + min(marks[-1] - marks[0], 999)
    else:
        return False
    return True


def _scattered(text: str, letters: str) -> list[int] | None:
    marks, at = [], -1
    for letter in letters:
        at = text.find(letter, at + 1)
        if at < 0:
            return None
        marks.append(at)
    return marks


def _lower(text: str) -> str:
    """Lower case of the same length, so that positions stay true (`İ` would become two characters)."""
    lower = text.lower()
    return (
        lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    )
