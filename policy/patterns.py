"""Patterns of names and logins: `*` is any text, `?` any one character, all else stands for itself, case included.

Answers whether a text matches, and whether any login at all is left when one pattern allows and others deny. What a
pattern is for (a group, a target, a login) is not known here, except for the syntax of logins.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from policy.errors import PatternError

USER = "{user}"
"""Stands in a login pattern for the person's own name."""

_FIRST = string.ascii_letters + string.digits + "_"
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_LOGIN_LENGTH = 64
_LOGIN_TEXT = re.compile(r"[A-Za-z0-9._-]+")
_LOGIN_PATTERN = re.compile(r"(?:[A-Za-z0-9._*?-]|\{user\})+")


def is_login(text: str) -> bool:
    """Whether *text* can be a login on a target at all."""
    return _LOGIN.fullmatch(text) is not None


def is_concrete(pattern: str) -> bool:
    """Whether *pattern* has no wildcard."""
    return "*" not in pattern and "?" not in pattern


def matches(pattern: str, text: str) -> bool:
    """Whether the whole of *text* matches *pattern*."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))  # our patterns know no [sets]


def any_matches(patterns: Iterable[str], text: str) -> bool:
    """Whether one of *patterns* matches *text*."""
    return any(matches(pattern, text) for pattern in patterns)


def check_login_pattern(pattern: str) -> str:
    """Return *pattern*, or raise PatternError if it could match no login."""
    if _LOGIN_PATTERN.fullmatch(pattern):
        return pattern
    if "{" in pattern:
        raise PatternError(f"the only placeholder in a login is {USER}")
    raise PatternError(
        f"no login can match it: use letters, digits, '.', '_', '-', the wildcards * ? and {USER}"
    )


def login_pattern(pattern: str, user: str) -> str | None:
    """Put *user* into a login pattern; None if no login can match the result.

    A name with a character that no login has (alice@example.com, or a wildcard) makes every pattern with `{user}`
    match nothing, so that a name is never read as a pattern.
    """
    if USER not in pattern:
        return pattern
    return pattern.replace(USER, user) if _LOGIN_TEXT.fullmatch(user) else None


@lru_cache(maxsize=4096)  # pure, and asked again for every target in the picker
def some_login(pattern: str, denied: tuple[str, ...]) -> str | None:
    """A shortest login that *pattern* matches and none of *denied* does; None if there is none.

    Walks all patterns at once over one character after the other, breadth first. Characters that no pattern names
    behave alike, so one of them stands for all.
    """
    if is_concrete(pattern):
        return pattern if is_login(pattern) and not any_matches(denied, pattern) else None
    patterns = (pattern, *denied)
    named = set("".join(patterns))
    others = [char for char in _FIRST + ".-" if char not in named]
    alphabet = others[:1] + [char for char in _FIRST + ".-" if char in named]
    frontier = {tuple(_closure(p, {0}) for p in patterns): ""}
    seen: set[tuple[frozenset[int], ...]] = set()  # not the start: the first character has its own rules
    for _ in range(_LOGIN_LENGTH):
        following: dict[tuple[frozenset[int], ...], str] = {}
        for places, text in frontier.items():
            for char in alphabet if text else [c for c in alphabet if c in _FIRST]:
                moved = tuple(_step(p, at, char) for p, at in zip(patterns, places, strict=True))
                if moved in seen or _is_dead(patterns, moved):
                    continue
                if len(pattern) in moved[0] and not any(len(p) in at for p, at in _pairs(denied, moved)):
                    return text + char
                seen.add(moved)
                following[moved] = text + char
        frontier = following
    return None


def _pairs(
    denied: tuple[str, ...], places: tuple[frozenset[int], ...]
) -> Iterable[tuple[str, frozenset[int]]]:
    return zip(denied, places[1:], strict=True)


def _is_dead(patterns: tuple[str, ...], places: tuple[frozenset[int], ...]) -> bool:
    """Whether no longer text can help: the allowed pattern is lost, or a denied one ends in a `*` it has reached."""
    denied = _pairs(patterns[1:], places)
    return not places[0] or any(p.endswith("*") and len(p) - 1 in at for p, at in denied)


def _step(pattern: str, places: frozenset[int], char: str) -> frozenset[int]:
    moved = set()
    for place in places:
        match pattern[place : place + 1]:
            case "*":
                moved.add(place)
            case "?":
                moved.add(place + 1)
            case literal if literal == char:
                moved.add(place + 1)
    return _closure(pattern, moved)


def _closure(pattern: str, places: set[int]) -> frozenset[int]:
    """*places*, and those behind a `*`, which may stand for nothing."""
    for place in sorted(places):
        while pattern[place : place + 1] == "*":
            place += 1
            places.add(place)
    return frozenset(places)
