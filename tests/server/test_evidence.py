"""The first promise: whatever a client received is in the recording, also when the server dies in the middle."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.rig.openssh import Client
from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.recorded import events, rows, streams

FLOOD = (
    "python3 -c 'import random, sys\n"
    "for i in range(10**9): sys.stdout.buffer.write(random.Random(i).randbytes(8192))'"
)


def read_some(ssh: subprocess.Popen[bytes], count: int) -> bytes:
    assert ssh.stdout is not None
    received = b""
    while len(received) < count:
        chunk = os.read(ssh.stdout.fileno(), 65536)
        assert chunk, "the flood ended early"
        received += chunk
    return received


@pytest.mark.parametrize("megabytes", [0.01, 1, 7])
def test_kill_in_the_middle_of_a_flood_loses_nothing_that_was_seen(
    own_world: World, megabytes: float
) -> None:
    alice = own_world.certified("alice")
    ssh = alice.popen("web-1@localhost", FLOOD)
    received = read_some(ssh, int(megabytes * 1_000_000))
    own_world.bastion.kill()
    assert ssh.stdout is not None
    received += ssh.stdout.read()
    ssh.wait(timeout=20)

    own_world.bastion.start()
    recorded = streams(own_world.recordings[-1]).output
    assert recorded[: len(received)] == received
    last = rows(own_world)[0]
    assert (last["ending"], last["user"], last["target"]) == ("interrupted", "alice", "web-1")
    assert events(own_world, "recording.recovered")[0]["session"] == last["id"]
    assert own_world.bastion.run("verify", last["id"]).status == 0


def test_keystrokes_are_recorded_before_they_reach_the_target(own_world: World) -> None:
    """The target gets a line and answers; then everything is killed. The line is in the recording."""
    alice = own_world.certified("alice")
    ssh = alice.popen("web-1@localhost", "read line; echo got:$line; sleep 60")
    assert ssh.stdin is not None
    ssh.stdin.write(b"typed\n")
    ssh.stdin.flush()
    assert read_some(ssh, 10) == b"got:typed\n"
    own_world.bastion.kill()
    ssh.wait(timeout=20)
    own_world.bastion.start()
    recorded = streams(own_world.recordings[-1])
    assert (recorded.input, recorded.output) == (b"typed\n", b"got:typed\n")


def test_recording_is_sealed_before_the_client_learns_that_the_program_ended(world: World) -> None:
    alice = world.certified("alice")
    for status in range(5):
        assert alice.run("web-1@localhost", f"exit {status}").status == status
        newest = world.recordings[-1]
        assert world.bastion.run("verify", str(newest)).status == 0


def test_changed_byte_shows_with_the_public_key_alone(world: World) -> None:
    alice = world.certified("alice")
    alice.run("web-1@localhost", "echo the quick brown fox")
    original = world.recordings[-1]
    copy = world.folder / "copy.cast"
    copy.write_bytes(original.read_bytes().replace(b"brown", b"green"))
    key = str(world.data / "keys" / "recorder-key.pub")
    assert world.bastion.run("verify", "--key", key, str(original)).status == 0
    verdict = world.bastion.run("verify", "--key", key, str(copy))
    assert verdict.status == 1
    assert "changed" in verdict.text.lower()


def test_clean_stop_ends_sessions_with_a_word_and_seals_them(own_world: World) -> None:
    alice = own_world.certified("alice")
    ssh = alice.popen("web-1@localhost", "echo here; sleep 60")
    read_some(ssh, 5)
    assert own_world.bastion.stop() == 0
    _, error = ssh.communicate(timeout=20)
    assert b"the bastion is being stopped" in error
    assert ssh.returncode == 75
    assert rows(own_world)[0]["ending"] == "server stopped"


def test_revocation_ends_live_sessions_and_says_why(own_world: World) -> None:
    alice = own_world.certified("alice")
    ssh = alice.popen("web-1@localhost", "echo here; sleep 60")
    read_some(ssh, 5)
    assert own_world.bastion.run("cert", "revoke", "alice", "--reason", "left the company").status == 0
    _, error = ssh.communicate(timeout=20)
    assert b"left the company" in error
    assert ssh.returncode == 77
    assert rows(own_world)[0]["ending"] == "revoked"


def test_lock_ends_live_sessions_and_stops_new_channels_of_the_connection(own_world: World) -> None:
    alice: Client = own_world.certified("alice")
    socket = own_world.folder / "mux"
    subprocess.run(alice.command("-S", str(socket), "-M", "-N", "-f", "x@localhost"), check=True, timeout=30)
    try:
        assert alice.run("-S", str(socket), "x@localhost", "web-1 true").status == 0
        assert own_world.bastion.run("user", "lock", "alice", "--reason", "under review").status == 0
        wait_until(
            lambda: alice.run("-S", str(socket), "x@localhost", "web-1 true").status == 77,
            "a refusal on the old connection",
        )
        assert "under review" in alice.run("-S", str(socket), "x@localhost", "web-1 true").errors
    finally:
        subprocess.run(alice.command("-S", str(socket), "-O", "exit", "x@localhost"), check=False)
