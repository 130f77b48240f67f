"""Decides which recordings are to be removed, and why; removes nothing.

Pure: rows, sizes, holds and the time go in, a plan comes out. Which rule is for which recording is the caller's
business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from recorder.catalog import SessionRow

DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A rule of retention, *rule* is its name; ages are in seconds since the end of a session.

    Recordings older than *keep* go; while all of the rule are more than *size* bytes the oldest go, but none younger
    than *at_least*. None is no limit.
    """

    rule: str
    keep: float | None
    size: int | None
    at_least: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sealed recording of *size* bytes, under *limits* if any rule is for it; *held* says why it must stay."""

    row: SessionRow
    size: int
    limits: Limits | None
    held: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What is to go: by which *rule*, and the *reason* in words."""

    row: SessionRow
    size: int
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a rule would remove if it were not held."""

    removal: Removal
    hold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """The recordings of *rule* stay *bytes* above its size: what is left is too young to go."""

    rule: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """*removals* oldest first, *held*, and where the size cannot be kept."""

    removals: tuple[Removal, ...]
    held: tuple[Held, ...]
    excesses: tuple[Excess, ...]

    @property
    def size(self) -> int:
        """How much the removals free."""
        return sum(removal.size for removal in self.removals)


def plan(candidates: Iterable[Candidate], now: float) -> Plan:
    """What is to be removed of *candidates* at *now*.

    What is held does not count for the size of its rule: else a large hold would push out all the rest.
    """
    by_limits: defaultdict[Limits, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.limits is not None:
            by_limits[candidate.limits].append(candidate)
    removals: list[Removal] = []
    held: list[Held] = []
    excesses: list[Excess] = []
    for limits, under in by_limits.items():
        under.sort(key=_end)
        total = sum(one.size for one in under if not one.held)
        for one in under:
            reason = _reason(one, limits, total, now)
            if not reason:
                continue
            removal = Removal(row=one.row, size=one.size, rule=limits.rule, reason=reason)
            if one.held:
                held.append(Held(removal=removal, hold=one.held))
            else:
                removals.append(removal)
                total -= one.size
        if limits.size is not None and total > limits.size:
            excesses.append(Excess(rule=limits.rule, bytes=total - limits.size))
    return Plan(
        removals=tuple(sorted(removals, key=lambda removal: (removal.row.ended_at or 0.0, removal.row.id))),
        held=tuple(held),
        excesses=tuple(excesses),
    )


def _reason(candidate: Candidate, limits: Limits, total: int, now: float) -> str:
    age = now - _end(candidate)[0]
    if limits.keep is not None and age > limits.keep:
        return f"{_days(age)} old; kept for {_days(limits.keep)}"
    if limits.size is not None and total > limits.size and age >= limits.at_least:
        return "the oldest where there is more than the size allows"
    return ""


def _end(candidate: Candidate) -> tuple[float, str]:
    assert candidate.row.ended_at is not None  # only what is sealed is a candidate
    return candidate.row.ended_at, candidate.row.id


def _days(seconds: float) -> str:
    days = seconds / DAY
    return f"{days:.0f} days" if days >= 10 else f"{days:.1f} days"
