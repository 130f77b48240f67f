from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from bastion.state.grants import Grant
from bastion.state.store import State
from tests.cli.bastion_command import Command
from tests.state.samples import a_grant


async def insert(run: Command, *grants: Grant) -> None:
    async with await State.open(run.config.state_file, create=False) as state:
        for grant in grants:
            await state.grants.insert(grant)


@pytest.fixture
def signed_in(run: Command) -> Command:
    """Alice signed in twice, bob once, and carol long ago."""
    now = time.time()
    asyncio.run(
        insert(
            run,
            a_grant("alice", now=now - 2, serial=0xABCDEF01),
            a_grant("alice", now=now - 1, serial=0xABCDEF02),
            a_grant("bob", now=now, serial=0x1234567890),
            a_grant("carol", now=now - 86400, lifetime=timedelta(hours=1), serial=0x99),
        )
    )
    return run


def serials(run: Command, *arguments: str) -> list[str]:
    return [row["serial"] for row in run("cert", "list", "--json", *arguments).json]


def test_the_list_holds_who_is_signed_in_and_on_demand_who_was(signed_in: Command) -> None:
    assert serials(signed_in) == ["1234567890", "abcdef02", "abcdef01"]
    assert serials(signed_in, "--user", "alice") == ["abcdef02", "abcdef01"]
    assert serials(signed_in, "--all")[-1] == "99"
    table = signed_in("cert", "list", "--all").out
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [
        ["1234567890", "bob", "good"],
        ["abcdef02", "alice", "good"],
        ["abcdef01", "alice", "good"],
        ["99", "carol", "expired"],
    ]


def test_nobody_signed_in_is_said(run: Command) -> None:
    done = run("cert", "list")
    assert (done.status, done.out, done.err) == (0, "", "Nobody is signed in.\n")
    assert run("cert", "list", "--json").json == []


def test_a_serial_is_revoked_by_its_first_digits_in_any_case(signed_in: Command) -> None:
    done = signed_in("cert", "revoke", "ABCDEF01", "--reason", "lost laptop")
    assert done.out.startswith("Revoked abcdef01 of alice, good until ")
    assert serials(signed_in) == ["1234567890", "abcdef02"]
    (row,) = [row for row in signed_in("cert", "list", "--all", "--json").json if row["serial"] == "abcdef01"]
    assert (row["status"], row["revoked_reason"]) == ("revoked", "lost laptop")


def test_a_user_is_revoked_with_all_their_sign_ins(signed_in: Command) -> None:
    found = signed_in("cert", "revoke", "alice", "--reason", "left", "--json").json
    assert {row["serial"] for row in found} == {"abcdef01", "abcdef02"}
    assert serials(signed_in) == ["1234567890"]
    events = signed_in("audit", "--event", "sign-in.revoked", "--json").json
    assert {event["detail"]["serial"] for event in events} == {"abcdef01", "abcdef02"}
    assert {(event["user"], event["detail"]["reason"]) for event in events} == {("alice", "left")}


@pytest.mark.parametrize(
    ("whom", "message"),
    [
        ("abcdef0", "the beginning of 2 serials"),
        ("12345", "at least 6 digits"),
        ("mallory", "Nobody is signed in as mallory"),
        ("carol", "Nobody is signed in as carol"),
        ("\x1b[2J", r"Nobody is signed in as \x1b[2J"),
    ],
)
def test_what_names_none_or_several_revokes_nothing(signed_in: Command, whom: str, message: str) -> None:
    done = signed_in("cert", "revoke", whom, "--reason", "x")
    assert done.status == 74
    assert message in done.err
    assert len(serials(signed_in)) == 3


def test_a_revocation_needs_a_reason(signed_in: Command) -> None:
    done = signed_in("cert", "revoke", "alice")
    assert done.status == 2
    assert "--reason" in done.err


def test_the_state_of_a_running_server_notices(signed_in: Command) -> None:
    async def changes() -> tuple[bool, bool, bool]:
        async with await State.open(signed_in.config.state_file, create=False) as server:
            before = await server.changed()
            await asyncio.to_thread(signed_in, "cert", "revoke", "bob", "--reason", "x")
            return before, await server.changed(), await server.changed()

    assert asyncio.run(changes()) == (False, True, False)
