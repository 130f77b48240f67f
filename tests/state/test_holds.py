"""Legal holds: what they cover, and that they are kept when they are over."""

from __future__ import annotations

import pytest

from bastion.state.store import State
from tests.state.samples import Clock


async def test_a_hold_covers_what_all_its_patterns_fit(state: State) -> None:
    hold = await state.holds.place(reason="incident 7", by="root", user="a*", target="db-*", case="7")
    assert hold.covers(session="s", user="ada", target="db-1")
    assert not hold.covers(session="s", user="ada", target="web-1")
    assert not hold.covers(session="s", user="bob", target="db-1")
    assert hold.scope == "user a*, target db-*"


async def test_a_hold_of_one_session_covers_no_other(state: State) -> None:
    hold = await state.holds.place(reason="court", by="root", session="261124-k7f3m9q")
    assert hold.covers(session="261124-k7f3m9q", user="ada", target="web-1")
    assert not hold.covers(session="261124-k7f3m9r", user="ada", target="web-1")


async def test_a_hold_that_names_nothing_is_not_placed(state: State) -> None:
    with pytest.raises(ValueError, match="names a session"):
        await state.holds.place(reason="everything", by="root")


async def test_a_lifted_hold_is_kept_with_who_lifted_it(state: State, clock: Clock) -> None:
    first = await state.holds.place(reason="court", by="root", user="ada", case="2026-17")
    second = await state.holds.place(reason="audit", by="root", target="db-1")
    lifted = await state.holds.lift(first.id, by="eve")
    assert lifted is not None and (lifted.lifted_by, lifted.lifted_at) == ("eve", clock())
    assert await state.holds.lift(first.id, by="eve") is None
    assert await state.holds.list() == [second]
    assert await state.holds.list(lifted=True) == [lifted, second]
    assert lifted.case == "2026-17"
