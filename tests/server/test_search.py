"""Searching on a running bastion: over SSH what the policy lets a person see, and by the command."""

from __future__ import annotations

import json

from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.recorded import events, rows


def test_people_find_their_own_sessions_and_auditors_those_they_are_given(world: World) -> None:
    alice, bob, carol = (world.certified(person) for person in ("alice", "bob", "carol"))
    alice.run("web-1@localhost", "echo needle-of-alice; exit 3")
    assert bob.run("web-2@localhost", "echo needle-of-bob").status == 0
    wait_until(lambda: "needle-of-bob" in world.bastion.run("search", "needle-of-bob").text, "bob's text")

    def found(done_by: str) -> set[str]:
        done = {"alice": alice, "bob": bob, "carol": carol}[done_by].run(
            "localhost", "search needle-of --limit 1000 --json"
        )
        return {json.loads(line)["user"] for line in done.text.splitlines()}

    assert found("alice") == {"alice"}
    assert found("bob") == {"bob"}
    assert found("carol") == {"alice", "bob"}

    done = alice.run("localhost", "search needle-of-alice --exit-status 3 --input")
    assert done.status == 0, done.errors
    (session,) = (row["id"] for row in rows(world) if row["user"] == "alice" and row["exit_status"] == 3)
    assert done.text.splitlines()[0].startswith(session)
    assert f"play {session} --at 0.1  typed: echo «needle-of-alice»; exit 3" in done.text
    assert alice.run("localhost", f"play {session} --at 0.1").text == "needle-of-alice\r\n"

    nothing = bob.run("localhost", "search needle-of-alice")
    assert (nothing.status, nothing.text) == (1, "")
    event = events(world, "recording.searched")[0]
    assert (event["user"], event["detail"]["text"]) == ("bob", "needle-of-alice")


def test_a_wrong_search_is_told_what_is_wrong(world: World) -> None:
    done = world.certified("alice").run("localhost", "search x --since yesterday")
    assert done.status == 64
    assert "neither an age (2h, 7d) nor a date" in done.errors
