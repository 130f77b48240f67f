"""`sessions`, `play` and `verify` over SSH: one's own sessions for everybody, all of them for auditors."""

from __future__ import annotations

import json

import pytest

from tests.rig.openssh import Client
from tests.rig.world import World
from tests.server.recorded import events, rows


@pytest.fixture
def session(world: World) -> str:
    """The id of a session of alice's."""
    world.certified("alice").run("web-1@localhost", "echo the quick brown fox")
    return str(rows(world)[0]["id"])


@pytest.fixture
def carol(world: World) -> Client:
    return world.certified("carol")


def test_auditor_lists_everybodys_sessions(world: World, carol: Client, session: str) -> None:
    listed = [json.loads(line) for line in carol.run("localhost", "sessions", "--json").text.splitlines()]
    assert session in [row["id"] for row in listed]
    assert session in carol.run("localhost", "sessions").text


def test_others_list_their_own_alone(world: World, session: str) -> None:
    bob = world.certified("bob")
    bob.run("web-2@localhost", "true")
    listed = [json.loads(line) for line in bob.run("localhost", "sessions", "--json").text.splitlines()]
    assert {row["user"] for row in listed} == {"bob"}


def test_auditor_replays_and_the_audit_names_them(world: World, carol: Client, session: str) -> None:
    assert carol.run("localhost", "play", session).text == "the quick brown fox\r\n"
    played = events(world, "recording.played")[0]
    assert (played["user"], played["session"], played["detail"]["of"]) == ("carol", session, "alice")


def test_auditor_verifies(world: World, carol: Client, session: str) -> None:
    done = carol.run("localhost", "verify", session)
    assert done.status == 0
    assert done.text.startswith(f"{session}  sealed: ")
    path = next(path for path in world.recordings if path.stem == session)
    original = path.read_bytes()
    try:
        path.write_bytes(original.replace(b"brown", b"green"))
        changed = carol.run("localhost", "verify", session)
    finally:
        path.write_bytes(original)
    assert changed.status == 1
    assert f"{session}  changed: " in changed.text


@pytest.mark.parametrize("word", ["play", "verify", "follow"])
def test_session_of_somebody_else_is_not_there(world: World, session: str, word: str) -> None:
    bob = world.certified("bob")
    done, absent = bob.run("localhost", word, session), bob.run("localhost", word, "999999-0000000")
    assert (done.status, done.stdout) == (absent.status, absent.stdout)
    assert done.status == 66
    assert "alice" not in done.errors
    assert events(world, "recording.refused")[0]["user"] == "bob"


def test_own_session_is_there(world: World, session: str) -> None:
    assert world.certified("alice").run("localhost", "play", session).text == "the quick brown fox\r\n"


def test_auditor_reaches_no_target(carol: Client) -> None:
    done = carol.run("localhost")
    assert done.status == 64
    assert "no rule lets you reach any target" in done.errors
