"""How long a session may be, and what the person is told before it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rig.world import World
from tests.server.recorded import rows

LIMITS = """
[sessions]
idle_timeout = "2s"
warning = "1s"

[[policy.rules]]
name = "short visits of operators"
groups = ["sre"]
targets = ["web-2"]
logins = ["ops"]
max_duration = "3s"
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("limited")) as world:
        world.configure(LIMITS, restart=True)
        yield world


def test_session_in_which_nothing_happens_ends_after_a_warning(limited: World) -> None:
    done = limited.certified("alice").run("web-1@localhost", "echo begun; sleep 60")
    assert (done.status, done.text) == (77, "begun\n")
    assert done.errors == (
        "bastion: nothing happens here: this session ends in 1 s unless something does\n"
        "bastion: nothing happened for 2s\n"
    )
    assert rows(limited)[0]["ending"] == "idle"


def test_session_in_which_something_happens_goes_on(limited: World) -> None:
    done = limited.certified("alice").run(
        "web-1@localhost", "for i in 1 2 3 4 5; do echo $i; sleep 0.7; done"
    )
    assert (done.status, done.text) == (0, "1\n2\n3\n4\n5\n")


def test_limit_of_a_rule_ends_a_busy_session_after_a_warning(limited: World) -> None:
    done = limited.certified("alice").run("ops@web-2@localhost", "while sleep 0.3; do echo busy; done")
    assert done.status == 77
    assert done.errors == (
        "bastion: this session reaches its longest duration and ends in 1 s\n"
        "bastion: sessions here last 3s at most\n"
    )
    assert rows(limited)[0]["ending"] == "time limit"


def test_what_the_person_was_told_is_in_the_recording(limited: World) -> None:
    limited.certified("alice").run("web-1@localhost", "sleep 60")
    played = limited.bastion.run("play", rows(limited)[0]["id"]).text
    assert "this session ends in 1 s unless something does" in played
