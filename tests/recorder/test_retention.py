"""What retention would remove: by age, by size with the oldest first, and never what is held."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from recorder.catalog import SessionRow
from recorder.names import SessionId
from recorder.retention import DAY, Candidate, Limits, plan

NOW = 1_800_000_000.0
BY_AGE = Limits(rule="age", keep=30 * DAY, size=None)
BY_SIZE = Limits(rule="size", keep=None, size=100, at_least=7 * DAY)


def candidate(number: int, *, age: float, size: int = 40, limits: Limits | None, held: str = "") -> Candidate:
    row = SessionRow(
        id=SessionId(f"261124-{number:07}"),
        path=Path("/nowhere"),
        user="ada",
        groups=(),
        target="web-1",
        kind="ssh",
        login="",
        action="shell",
        command="",
        started_at=NOW - age * DAY - 60,
        ended_at=NOW - age * DAY,
        ending="exited",
        exit_status=0,
        output_bytes=0,
        input_bytes=0,
        facts={},
    )
    return Candidate(row=row, size=size, limits=limits, held=held)


def test_what_is_older_than_the_rule_keeps_goes() -> None:
    found = plan([candidate(1, age=31, limits=BY_AGE), candidate(2, age=29, limits=BY_AGE)], NOW)
    (removal,) = found.removals
    assert (removal.row.id, removal.rule) == ("261124-0000001", "age")
    assert removal.reason == "31 days old; kept for 30 days"


def test_without_a_rule_nothing_goes() -> None:
    assert plan([candidate(1, age=9999, limits=None)], NOW).removals == ()


def test_for_size_the_oldest_go_first_and_no_more_than_needed() -> None:
    found = plan([candidate(n, age=n, limits=BY_SIZE) for n in (10, 40, 20, 30)], NOW)
    assert [removal.row.id[-2:] for removal in found.removals] == ["40", "30"]
    assert found.size == 80 and found.excesses == ()


def test_for_size_nothing_young_goes_and_the_plan_says_what_is_above() -> None:
    """Who fills the disk in an hour does not push out what he did in that hour."""
    found = plan([candidate(n, age=6, limits=BY_SIZE) for n in range(4)], NOW)
    assert found.removals == ()
    assert [(one.rule, one.bytes) for one in found.excesses] == [("size", 60)]


def test_what_is_held_stays_and_does_not_count_for_the_size() -> None:
    held = [candidate(n, age=100 + n, size=1000, limits=BY_SIZE, held="hold 1: court") for n in range(3)]
    found = plan([*held, candidate(9, age=50, limits=BY_SIZE)], NOW)
    assert found.removals == () and found.held == ()
    old = candidate(1, age=31, limits=BY_AGE)
    found = plan([replace(old, held="hold 2: audit")], NOW)
    assert found.removals == ()
    assert [one.hold for one in found.held] == ["hold 2: audit"]


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 60), st.booleans()), max_size=12))
def test_for_size_what_goes_is_always_older_than_what_stays(many: list[tuple[int, int, bool]]) -> None:
    candidates = [
        candidate(n, age=age, size=size, limits=BY_SIZE, held="h" if held else "")
        for n, (age, size, held) in enumerate(many)
    ]
    found = plan(candidates, NOW)
    gone = {removal.row.id for removal in found.removals}
    stay = [one for one in candidates if one.row.id not in gone and not one.held]
    youngest_gone = max((removal.row.ended_at or 0.0 for removal in found.removals), default=0.0)
    assert all((one.row.ended_at or 0.0) >= youngest_gone for one in stay)
    total = sum(one.size for one in stay)
    assert total <= 100 or found.excesses[0].bytes == total - 100
