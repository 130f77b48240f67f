"""Grants: what they hold, when they let somebody in, how they are taken away."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastion.errors import SignInError, StateError
from bastion.state.grants import Grant, RotatedKeyError, grant_problem, key_id
from bastion.state.locks import Lock
from bastion.state.store import State
from tests.state.samples import START, Clock, a_grant


def locked(until: float | None = None) -> Lock:
    return Lock(user="alice", reason="lost laptop", locked_by="root", locked_at=START, until=until)


def revoked() -> Grant:
    return replace(a_grant(), revoked_at=START + 60, revoked_by="root", revoked_reason="left the company")


async def test_a_stored_grant_comes_back_as_it_was(state: State) -> None:
    grant = replace(a_grant(groups=["sre", "größe, \"'"]), key_fingerprint="SHA256:x")
    await state.grants.insert(grant)
    assert await state.grants.get(grant.serial) == grant


@pytest.mark.parametrize("serial", [0, (1 << 63) - 1])
async def test_the_smallest_and_the_greatest_serial_can_be_stored(state: State, serial: int) -> None:
    await state.grants.insert(a_grant(serial=serial))
    assert await state.grants.get(serial) is not None


@pytest.mark.parametrize("serial", [7, 1 << 63, (1 << 64) - 1, -1])
async def test_a_serial_that_was_never_given_is_unknown(state: State, serial: int) -> None:
    """A certificate can carry any 64 bits, more than SQLite's integers hold."""
    assert await state.grants.get(serial) is None


async def test_a_serial_is_given_only_once(state: State) -> None:
    first = a_grant("alice", serial=42)
    await state.grants.insert(first)
    with pytest.raises(StateError, match="UNIQUE"):
        await state.grants.insert(a_grant("mallory", serial=42))
    assert await state.grants.get(42) == first


async def test_a_grant_under_a_key_that_does_not_sign_is_refused(state: State) -> None:
    grant = replace(a_grant(), ca_key_id="no-such-key")
    with pytest.raises(RotatedKeyError):
        await state.grants.insert(grant)
    assert await state.grants.get(grant.serial) is None


def test_validity_begins_in_the_past_and_ends_after_twelve_hours_at_most() -> None:
    grant = a_grant(lifetime=timedelta(days=2))
    assert (grant.valid_after, grant.valid_before) == (START - 60, START + 12 * 3600)
    assert a_grant(lifetime=timedelta(minutes=5)).valid_before == START + 300


@pytest.mark.parametrize(
    ("grant", "lock", "now", "problem"),
    [
        (a_grant(), None, START, None),
        (a_grant(), None, START + 8 * 3600 - 1, None),
        (a_grant(), locked(until=START), START, None),
        (None, None, START, "knows no sign-in with this serial"),
        (a_grant(), None, START + 8 * 3600, r"expired at 2027-01-15 16:00 UTC\. Sign in again"),
        (a_grant(), None, START - 61, "not valid before"),
        (revoked(), None, START + 61, "revoked at 2027-01-15 08:01 UTC: left the company"),
        (revoked(), None, START + 9 * 3600, "revoked"),
        (a_grant(), locked(), START, r"alice is locked: lost laptop"),
        (
            a_grant(),
            locked(until=START + 60),
            START,
            r"alice is locked until 2027-01-15 08:01 UTC: lost laptop",
        ),
        (revoked(), locked(), START + 61, "locked"),
    ],
)
def test_a_grant_lets_in_or_says_why_not(
    grant: Grant | None, lock: Lock | None, now: float, problem: str | None
) -> None:
    found = grant_problem(grant, now, lock)
    assert (found is None) if problem is None else re.search(problem, found or "")


@given(user=st.text(min_size=1), alias=st.text(min_size=1))
def test_a_key_id_can_be_printed_anywhere_or_is_refused(user: str, alias: str) -> None:
    try:
        text = key_id(user, 0x1F, alias)
    except SignInError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._@+:/-]{1,128}", text)
    assert text == f"u:{user}/s:1f/i:{alias}"


@pytest.mark.parametrize("user", ["a\nb", "a b", "\x1b[31mred", "ali\u202ece", "a" * 128, "a,root", "*", "é"])
def test_a_name_that_could_fool_a_log_gets_no_grant(user: str) -> None:
    with pytest.raises(SignInError, match="cannot stand in a certificate"):
        a_grant(user)


async def test_a_revocation_stays_as_it_was_made_first(state: State, clock: Clock) -> None:
    await state.grants.insert(a_grant(serial=1))
    await state.grants.revoke(1, by="root", reason="first")
    clock.advance(minutes=1)
    grant = await state.grants.revoke(1, by="eve", reason="second")
    assert grant is not None
    assert (grant.revoked_at, grant.revoked_by, grant.revoked_reason) == (START, "root", "first")


async def test_revoking_an_unknown_serial_finds_nothing(state: State) -> None:
    assert await state.grants.revoke(99, by="root", reason="x") is None


async def test_revoking_a_user_takes_their_live_grants_and_nobody_elses(state: State, clock: Clock) -> None:
    await state.grants.insert(a_grant("alice", serial=1, lifetime=timedelta(minutes=1)))
    clock.advance(minutes=2)
    for serial, user in ((2, "alice"), (3, "alice"), (4, "bob")):
        await state.grants.insert(a_grant(user, serial=serial, now=clock()))
    revoked = await state.grants.revoke_user("alice", by="root", reason="x")
    assert {grant.serial for grant in revoked} == {2, 3}
    assert [grant.serial for grant in await state.grants.list()] == [4]


async def test_grants_are_listed_newest_first_by_user_and_the_dead_ones_on_demand(
    state: State, clock: Clock
) -> None:
    await state.grants.insert(a_grant("alice", serial=1, lifetime=timedelta(minutes=1)))
    clock.advance(minutes=2)
    await state.grants.insert(a_grant("bob", serial=2, now=clock()))
    clock.advance(minutes=2)
    await state.grants.insert(a_grant("alice", serial=3, now=clock()))

    async def serials(user: str | None, live_only: bool) -> list[int]:
        return [grant.serial for grant in await state.grants.list(user=user, live_only=live_only)]

    assert await serials(None, True) == [3, 2]
    assert await serials("alice", True) == [3]
    assert await serials("alice", False) == [3, 1]
