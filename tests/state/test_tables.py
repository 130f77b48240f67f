"""The smaller tables: pinned names, locks, used tokens, CA keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bastion.errors import SignInError, StateError
from bastion.state.ca_keys import AuthorityName, CaKey, CaKeyId
from bastion.state.store import State
from tests.state.samples import START, Clock, a_grant


def a_key(name: str, authority: AuthorityName = "user", created_at: float = START) -> CaKey:
    return CaKey(
        id=CaKeyId(name),
        authority=authority,
        public=f"ssh-ed25519 {name}",
        created_at=created_at,
        status="active",
    )


async def test_a_name_stays_with_the_identity_that_first_came_with_it(state: State) -> None:
    await state.identities.pin("https://a.example", "1", "alice")
    await state.identities.pin("https://a.example", "1", "alice")
    for issuer, subject in (("https://a.example", "2"), ("https://b.example", "1")):
        with pytest.raises(SignInError, match="belongs to another account"):
            await state.identities.pin(issuer, subject, "alice")
    await state.identities.pin("https://a.example", "1", "alice")


async def test_a_released_name_goes_to_the_next_who_comes(state: State) -> None:
    await state.identities.pin("https://a.example", "1", "alice")
    assert await state.identities.release("alice")
    assert not await state.identities.release("alice")
    await state.identities.pin("https://a.example", "2", "alice")


async def test_a_lock_holds_until_its_time_or_until_it_is_taken_off(state: State, clock: Clock) -> None:
    await state.locks.lock("alice", reason="x", by="root", until=START + 60)
    await state.locks.lock("bob", reason="y", by="root")
    assert [lock.user for lock in await state.locks.list()] == ["alice", "bob"]
    clock.advance(seconds=60)
    assert await state.locks.get("alice") is None
    assert [lock.user for lock in await state.locks.list()] == ["bob"]
    assert await state.locks.unlock("bob")
    assert not await state.locks.unlock("bob")
    assert await state.locks.list() == []


async def test_a_new_lock_takes_the_place_of_the_old_one(state: State) -> None:
    await state.locks.lock("alice", reason="short", by="root", until=START + 60)
    await state.locks.lock("alice", reason="for good", by="root")
    lock = await state.locks.get("alice")
    assert lock is not None
    assert (lock.reason, lock.until) == ("for good", None)


async def test_a_token_is_used_once_and_forgotten_when_it_could_not_be_used_anyway(
    state: State, clock: Clock
) -> None:
    assert await state.tokens.use("digest", START + 600)
    assert not await state.tokens.use("digest", START + 600)
    assert await state.tokens.use("another", START + 600)
    clock.advance(seconds=601)
    assert await state.tokens.use("digest", START + 1200)


async def test_an_authority_has_one_active_key(state: State) -> None:
    await state.ca_keys.add_first(a_key("one"))
    with pytest.raises(StateError, match="UNIQUE"):
        await state.ca_keys.add_first(a_key("two"))
    await state.ca_keys.add_first(a_key("three", "host"))


async def test_a_replaced_user_key_is_trusted_until_its_last_certificate_that_was_not_revoked_expires(
    state: State, clock: Clock
) -> None:
    await state.ca_keys.add_first(a_key("old"))
    for serial, hours in ((1, 2), (2, 5), (3, 11)):
        grant = a_grant(serial=serial, now=START + 3600 * (hours - 8))
        await state.grants.insert(replace(grant, ca_key_id="old"))
    await state.grants.revoke(3, by="root", reason="x")
    old = await state.ca_keys.succeed(a_key("new", created_at=START + 1), latest=START + 12 * 3600)
    assert (old.id, old.status, old.trusted_until) == ("old", "trusted", START + 5 * 3600)
    assert await state.ca_keys.count_live() == {"old": 2}
    clock.advance(hours=5)
    assert not old.is_trusted(clock())
    assert [key.id for key in await state.ca_keys.retire_expired()] == ["old"]
    assert [(key.id, key.status) for key in await state.ca_keys.list("user")] == [
        ("new", "active"),
        ("old", "retired"),
    ]


async def test_trust_in_a_replaced_key_never_outlasts_the_latest_moment(state: State) -> None:
    await state.ca_keys.add_first(a_key("old"))
    await state.grants.insert(replace(a_grant(), ca_key_id="old"))
    old = await state.ca_keys.succeed(a_key("new"), latest=START + 60)
    assert old.trusted_until == START + 60


async def test_no_grant_comes_to_a_key_after_the_end_of_its_trust_was_worked_out(state: State) -> None:
    await state.ca_keys.add_first(a_key("old"))
    await state.ca_keys.succeed(a_key("new"), latest=START + 60)
    with pytest.raises(StateError):
        await state.grants.insert(replace(a_grant(), ca_key_id="old"))
