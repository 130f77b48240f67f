"""Watching a session while it runs, and ending it."""

from __future__ import annotations

import os
import subprocess

from tests.rig.openssh import Client
from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.recorded import events, rows


def running(client: Client, command: str) -> subprocess.Popen[bytes]:
    """Start *command* on web-1 and wait for its first line."""
    ssh = client.popen("web-1@localhost", f"echo begun; {command}")
    assert ssh.stdout is not None
    assert ssh.stdout.readline() == b"begun\n"
    return ssh


def read_until(process: subprocess.Popen[bytes], text: bytes) -> bytes:
    assert process.stdout is not None
    seen = b""
    while text not in seen:
        chunk = os.read(process.stdout.fileno(), 65536)
        assert chunk, seen
        seen += chunk
    return seen


def test_follower_sees_the_session_from_its_first_byte_to_its_end(world: World) -> None:
    ssh = running(world.certified("alice"), "read line; echo got $line; read line; seq 5000")
    session = rows(world)[0]["id"]
    carol = world.certified("carol").popen("localhost", "follow", session)
    assert ssh.stdin is not None
    read_until(carol, b"begun")
    ssh.stdin.write(b"one\n")
    ssh.stdin.flush()
    read_until(carol, b"got one")
    ssh.stdin.write(b"two\n")
    ssh.stdin.close()
    ssh.stdin = None
    ssh.communicate(timeout=20)
    rest, _ = carol.communicate(timeout=20)
    assert b"4999\r\n5000\r\n" in rest
    assert carol.returncode == 0
    followed = events(world, "recording.followed")[0]
    assert (followed["user"], followed["session"]) == ("carol", session)


def test_follower_who_is_locked_sees_nothing_more(own_world: World) -> None:
    world = own_world
    ssh = running(world.certified("alice"), "read line; echo got $line; read line")
    carol = world.certified("carol").popen("localhost", "follow", rows(world)[0]["id"])
    read_until(carol, b"begun")
    assert world.bastion.run("user", "lock", "carol", "--reason", "left us").status == 0
    shown, errors = carol.communicate(timeout=10)
    assert (shown, carol.returncode) == (b"", 77)
    assert b"locked" in errors
    assert ssh.poll() is None
    ssh.communicate(timeout=20)


def test_follower_who_may_not_see_the_session_is_refused(world: World) -> None:
    ssh = running(world.certified("alice"), "read line")
    done = world.certified("bob").run("localhost", "follow", rows(world)[0]["id"])
    assert done.status == 66
    assert "that you may see" in done.errors
    ssh.communicate(timeout=20)


def test_operator_follows_on_the_command_line_and_ends_the_session_with_a_message(world: World) -> None:
    ssh = running(world.certified("alice"), "sleep 60")
    session = rows(world)[0]["id"]
    done = world.bastion.run("kill", session, "--message", "please call the help desk")
    assert done.status == 0, done.errors
    _, error = ssh.communicate(timeout=20)
    assert b"please call the help desk" in error
    assert ssh.returncode == 77
    assert rows(world)[0]["ending"] == "ended by operator"
    assert "begun" in world.bastion.run("follow", session).text
    assert world.bastion.run("verify", session).status == 0


def test_session_that_has_ended_cannot_be_ended_again(world: World) -> None:
    world.certified("alice").run("web-1@localhost", "true")
    session = rows(world)[0]["id"]
    wait_until(lambda: rows(world)[0]["ending"] == "exited", "the session to end")
    done = world.bastion.run("kill", session)
    assert done.status != 0
    assert "does not run" in done.errors
