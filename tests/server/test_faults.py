"""What can break does: each fault has its clear message, its audit event, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.openssh import Client
from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.recorded import events, rows, streams, wait_for_ending


@pytest.fixture
def alice(world: World) -> Client:
    return world.certified("alice")


def descriptors(world: World) -> int:
    return len(list(Path(f"/proc/{world.bastion.pid}/fd").iterdir()))


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test with a `world` the server has no more open files and connections than before."""
    if "world" not in request.fixturenames:
        yield
        return
    world: World = request.getfixturevalue("world")
    world.certified("alice").run("web-1@localhost", "true")  # whatever is opened once is open now
    wait_until(lambda: rows(world)[0]["ending"] == "exited", "the warm-up to end")
    before = descriptors(world)
    yield
    wait_until(lambda: descriptors(world) <= before, f"{before} open descriptors, as before")
    assert "task.failed" not in world.bastion.log


def test_client_that_vanishes_ends_its_session(alice: Client, world: World) -> None:
    ssh = alice.popen("web-1@localhost", "echo here; sleep 60")
    assert ssh.stdout is not None
    assert ssh.stdout.readline() == b"here\n"
    ssh.send_signal(signal.SIGKILL)
    ssh.communicate()
    wait_for_ending(world, "client disconnected")
    assert events(world, "session.ended")[0]["detail"]["ending"] == "client disconnected"


def test_target_that_vanishes_ends_the_session_with_a_word(alice: Client, world: World) -> None:
    ssh = alice.popen("web-1@localhost", "echo here; sleep 60")
    assert ssh.stdout is not None
    assert ssh.stdout.readline() == b"here\n"
    world.web_1.drop_sessions()
    _, error = ssh.communicate(timeout=20)
    assert ssh.returncode == 255
    assert b"web-1 closed the connection" in error
    wait_for_ending(world, "target disconnected")


def test_target_that_refuses_the_login_is_told_as_such(alice: Client, world: World) -> None:
    world.web_1.trust_ca()
    try:
        done = alice.run("web-1@localhost", "true")
    finally:
        world.web_1.trust_ca(*world.bastion.run("ca", "show", "target").text.splitlines())
    assert done.status == 255
    assert "web-1 refused to let the bastion sign in as deploy" in done.errors
    assert "bastion target check web-1" in done.errors
    assert rows(world)[0]["ending"] == "target refused"


def test_target_that_is_down_is_told_as_such(alice: Client, world: World) -> None:
    world.web_1.stop()
    try:
        done = alice.run("web-1@localhost", "true")
    finally:
        world.web_1.start()
    assert done.status == 255
    assert "web-1 cannot be reached" in done.errors


def test_target_with_another_host_key_is_refused_and_never_asked_about(own_world: World) -> None:
    alice = own_world.certified("alice")
    own_world.web_1.stop()
    own_world.web_1.new_host_key()
    own_world.web_1.start()
    done = alice.run("web-1@localhost", "true")
    assert done.status == 255
    assert "the host key of web-1 is not the one on record" in done.errors
    assert own_world.web_1.fingerprint in done.errors
    assert "Accepted" not in own_world.web_1.log.rpartition("Server listening")[2]


def test_policy_that_says_no_says_so_and_is_audited(world: World) -> None:
    done = world.certified("alice").run("root@web-1@localhost", "true")
    assert done.status == 77
    assert "no rule lets you run a command on web-1 as root" in done.errors
    refused = events(world, "session.refused")[0]
    assert (refused["user"], refused["detail"]["target"]) == ("alice", "web-1")


def test_target_out_of_reach_looks_like_one_that_is_not_there(world: World) -> None:
    bob = world.certified("bob")
    hidden = bob.run("deploy@web-1@localhost", "true")
    absent = bob.run("deploy@web-9@localhost", "true")
    assert hidden.status == absent.status
    assert hidden.errors.replace("web-1", "web-9") == absent.errors


def test_folder_that_cannot_be_written_refuses_the_session(own_world: World) -> None:
    alice = own_world.certified("alice")
    folder = own_world.data / "recordings"
    own_world.bastion.stop()
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            subprocess.run(["rm", "-r", str(path)], check=True)
    blocked = folder / "2026"
    own_world.bastion.start()
    for year in ("2026", "2027", "2028"):
        (folder / year).write_text("in the way")
    done = alice.run("web-1@localhost", "echo never seen")
    assert done.status == 77
    assert done.stdout == b""
    assert "no session without a recording" in done.errors
    assert blocked.is_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 70 MB, of which the recorder keeps 64 free for others."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=70m,mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"this machine lets nobody mount a tmpfs: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_ends_the_session_with_a_word_and_nothing_unrecorded_is_delivered(
    small_disk: Path, tmp_path: Path
) -> None:
    with World(tmp_path / "world") as own_world:
        own_world.configure(f'[recording]\nfolder = "{small_disk}/recordings"', restart=True)
        alice = own_world.certified("alice")
        done = alice.run("web-1@localhost", "head -c 200000000 /dev/urandom", timeout=60)
        assert done.status == 74
        assert "the recording of this session cannot be written" in done.errors
        recorded = next((small_disk / "recordings").rglob("*.cast"))
        assert streams(recorded).output[: len(done.stdout)] == done.stdout
        assert 0 < len(done.stdout) < 70_000_000
        refused = alice.run("web-1@localhost", "true")
        assert refused.status == 77
        assert "no session without a recording" in refused.errors
        assert alice.run("localhost", "whoami").status == 0
        assert rows(own_world)[0]["ending"] == "recording failed"


@pytest.fixture
def own_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which can be frozen: whatever writes to it waits, as for a disk that hangs."""
    folder, image = tmp_path / "disk", tmp_path / "image"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(160 << 20)
    for command in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(folder)]):
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"mounting a disk takes root and a loop device: {error}")
    yield folder
    subprocess.run(["fsfreeze", "--unfreeze", str(folder)], check=False, capture_output=True)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_disk_that_hangs_stops_the_sessions_that_write_to_it_and_nobody_else(
    own_disk: Path, tmp_path: Path
) -> None:
    with World(tmp_path / "world") as own_world:
        own_world.configure(f'[recording]\nfolder = "{own_disk}/recordings"', restart=True)
        alice, bob = own_world.certified("alice"), own_world.client("bob")
        running = alice.popen("web-1@localhost", "cat")
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"before\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"before\n"

        subprocess.run(["fsfreeze", "--freeze", str(own_disk)], check=True)
        running.stdin.write(b"meanwhile\n")
        running.stdin.flush()
        others = [alice.popen("web-1@localhost", "true") for _ in range(12)]
        assert alice.run("localhost", "whoami").status == 0
        assert "Signed in as bob" in own_world.sign_in(bob, "bob")
        assert own_world.bastion.run("user", "locks").status == 0
        assert not select.select([running.stdout], [], [], 0)[0]  # nothing seen that is not written

        subprocess.run(["fsfreeze", "--unfreeze", str(own_disk)], check=True)
        assert running.stdout.readline() == b"meanwhile\n"
        running.communicate()
        for other in others:
            _, error = other.communicate(timeout=20)
            assert other.returncode == 0 or b"the disk for recordings does not answer" in error
        assert own_world.bastion.run("verify", "--all").status == 0


def test_connections_that_say_nothing_block_nobody(alice: Client, world: World) -> None:
    """Four sources hold all the places there are; one gives way to each who comes alone."""
    silent = [
        socket.create_connection(("127.0.0.1", world.bastion.port), source_address=(f"127.0.0.{source}", 0))
        for source in (2, 3, 4, 5)
        for _ in range(50)
    ]
    try:
        assert alice.run("web-1@localhost", "true").status == 0
        wait_until(lambda: "connection.gave-way" in world.bastion.log, "one that was cut off")
    finally:
        for connection in silent:
            connection.close()


def test_nonsense_instead_of_ssh_is_survived(alice: Client, world: World) -> None:
    with socket.create_connection(("127.0.0.1", world.bastion.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(5000))
        while connection.recv(4096):
            pass
    assert alice.run("web-1@localhost", "true").status == 0
