"""`ssh -J bastion deploy@web-1` with plain OpenSSH: terminated, decided upon and recorded by the bastion."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig.openssh import Client
from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.recorded import events, rows, streams

Jumper = Callable[[str], Client]
PROXY_COMMAND = 'ProxyCommand=ssh -F "{config}" -W %h:%p bastion'


def test_command_through_a_jump_keeps_its_streams_and_status(alice: Client, world: World) -> None:
    done = alice.run("-J", "bastion", "deploy@web-1", "echo out; echo err >&2; whoami; hostname; exit 7")
    assert (done.status, done.stdout, done.stderr) == (7, b"out\ndeploy\nweb-1\n", b"err\n")
    session = rows(world)[0]
    assert (session["user"], session["target"], session["login"]) == ("alice", "web-1", "deploy")
    recorded = streams(world.recordings[-1])
    assert (recorded.output, recorded.error) == (done.stdout, done.stderr)


def test_proxy_command_with_w_is_the_same(alice: Client) -> None:
    option = PROXY_COMMAND.format(config=alice.config)
    assert alice.run("-o", option, "ops@web-2", "whoami; hostname").text == "ops\nweb-2\n"


def test_long_name_of_a_target_is_covered_by_the_one_line_of_known_hosts(alice: Client) -> None:
    assert alice.run("-J", "bastion", "deploy@web-1.localhost", "hostname").text == "web-1\n"


def test_own_port_of_a_target_is_as_good_as_22(alice: Client, world: World) -> None:
    port = str(world.web_1.port)
    assert alice.run("-J", "bastion", "-p", port, "deploy@web-1", "hostname").text == "web-1\n"


def test_terminal_through_a_jump_has_its_size_and_is_recorded(alice: Client, world: World) -> None:
    ssh = alice.spawn("-J", "bastion", "deploy@web-1", rows=33, columns=101)
    ssh.expect(r"deploy@web-1:~\$ ")
    ssh.sendline("stty size; exit 3")
    ssh.expect("33 101")
    ssh.expect("logout")
    ssh.wait()
    assert ssh.exitstatus == 3
    assert b"33 101" in streams(world.recordings[-1]).output


def test_half_closed_input_reaches_the_program_through_a_jump(alice: Client) -> None:
    data = bytes(range(256)) * 40_000
    done = alice.run("-J", "bastion", "deploy@web-1", "cat; echo; echo and more", stdin=data, timeout=60)
    assert done.stdout == data + b"\nand more\n"


@pytest.mark.parametrize(
    ("person", "destination"),
    [
        ("bob", "web-1:22"),  # it exists, and no rule of his names it
        ("bob", "web-9:22"),
        ("alice", "127.0.0.1:22"),
        ("alice", "../web-1:22"),
    ],
)
def test_anything_but_ssh_to_a_target_one_may_reach_is_refused_and_noted(
    jumper: Jumper, world: World, person: str, destination: str
) -> None:
    before = len(world.recordings)
    done = jumper(person).run("-W", destination, "bastion")
    host, port = destination.rsplit(":", 1)
    assert done.status == 255
    assert f"administratively prohibited: there is no target {host} that you may reach on port {port}" in (
        done.errors
    )
    noted = events(world, "jump.refused")[0]
    assert (noted["user"], noted["detail"]["destination"]) == (person, destination)
    assert len(world.recordings) == before


def test_login_that_no_rule_grants_is_refused_with_words(alice: Client) -> None:
    done = alice.run("-J", "bastion", "root@web-1", "true")
    assert done.status != 0
    assert "no rule lets you run a command on web-1 as root; you may as deploy, ops" in done.errors


def test_there_is_no_way_on_from_a_target(alice: Client) -> None:
    done = alice.run("-J", "bastion,deploy@web-1", "deploy@web-2", "hostname")
    assert done.status == 255
    assert "administratively prohibited" in done.errors
    forward = alice.run("-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:localhost:1", "bastion")
    assert forward.status == 255


def test_several_sessions_share_one_jump_and_have_a_recording_each(alice: Client, world: World) -> None:
    socket = world.folder / "jump-mux"
    master = ["-S", str(socket), "-o", "ControlPersist=no", "-J", "bastion", "-M", "-N", "-f", "deploy@web-1"]
    subprocess.run(alice.command(*master), check=True, timeout=30)
    try:
        before = len(world.recordings)
        for word in ("one", "two", "three"):
            assert alice.run("-S", str(socket), "deploy@web-1", f"echo {word}").text == f"{word}\n"
        assert len(world.recordings) == before + 3
    finally:
        subprocess.run(alice.command("-S", str(socket), "-O", "exit", "deploy@web-1"), check=False)


def test_locked_person_opens_no_more_sessions_on_a_jump_that_is_open(jumper: Jumper, world: World) -> None:
    bob, socket = jumper("bob"), world.folder / "bob-mux"
    master = ["-S", str(socket), "-o", "ControlPersist=no", "-J", "bastion", "-M", "-N", "-f", "deploy@web-2"]
    subprocess.run(bob.command(*master), check=True, timeout=30)
    try:
        assert bob.run("-S", str(socket), "deploy@web-2", "echo in").text == "in\n"
        assert world.bastion.run("user", "lock", "bob", "--reason", "left").status == 0
        done = bob.run("-S", str(socket), "deploy@web-2", "echo in")
        assert done.status != 0 and done.text == ""
        refused = bob.run("-J", "bastion", "deploy@web-2", "true")
        assert refused.status == 255
    finally:
        world.bastion.run("user", "unlock", "bob")
        subprocess.run(bob.command("-S", str(socket), "-O", "exit", "deploy@web-2"), check=False)


def test_session_ends_with_the_connection_around_it(alice: Client, world: World) -> None:
    outer, through = world.folder / "outer-mux", world.folder / "through"
    master = ["-S", str(outer), "-o", "ControlPersist=no", "-M", "-N", "-f", "bastion"]
    subprocess.run(alice.command(*master), check=True, timeout=30)
    option = f'ProxyCommand=ssh -F "{alice.config}" -S "{outer}" -W %h:%p bastion'
    ssh = alice.popen("-o", option, "deploy@web-1", f"touch {through}; sleep 60")
    wait_until(through.exists, "the session")
    subprocess.run(alice.command("-S", str(outer), "-O", "exit", "bastion"), check=True, capture_output=True)
    ssh.communicate(timeout=20)
    assert ssh.returncode == 255
    wait_until(lambda: rows(world)[0]["ending"] == "client disconnected", "the end of the session")


def test_reader_that_stops_costs_no_memory_and_stalls_nobody(alice: Client, world: World) -> None:
    """With -J two windows lie in each other; asyncssh alone would fill our memory with what nobody reads."""

    def memory() -> int:
        status = Path(f"/proc/{world.bastion.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    known, before = set(world.recordings), memory()
    stalled = alice.popen("-J", "bastion", "deploy@web-1", "cat /dev/zero")
    try:
        wait_until(lambda: set(world.recordings) != known, "the recording")
        (recording,) = set(world.recordings) - known
        sizes = [-1, 0]
        while sizes[-1] != sizes[-2] or not sizes[-1]:
            done = alice.run("-J", "bastion", "deploy@web-1", "sleep 0.3; echo here")
            assert done.text == "here\n"
            sizes.append(recording.stat().st_size)
            assert sizes[-1] < 100_000_000
        assert memory() - before < 50_000
    finally:
        stalled.kill()
        stalled.communicate(timeout=20)


def test_bytes_that_are_no_ssh_end_the_jump_and_nothing_else(alice: Client, world: World) -> None:
    socket = world.folder / "garbage-mux"
    master = ["-S", str(socket), "-o", "ControlPersist=no", "-M", "-N", "-f", "bastion"]
    subprocess.run(alice.command(*master), check=True, timeout=30)
    through = ["-S", str(socket), "-W", "web-1:22", "bastion"]
    try:
        for garbage in (b"GET / HTTP/1.1\r\n\r\n" * 50, b"SSH-2.0-x\r\n" + bytes(200_000), b"\xff" * 70_000):
            assert alice.run(*through, stdin=garbage).stdout.startswith(b"SSH-2.0-bastion\r\n")
        assert alice.run("-S", str(socket), "bastion", "whoami").status == 0
        assert "task.failed" not in world.bastion.log
    finally:
        subprocess.run(alice.command("-S", str(socket), "-O", "exit", "bastion"), check=False)


def test_jump_that_says_nothing_holds_up_nobody_and_many_have_an_end(alice: Client, world: World) -> None:
    socket = world.folder / "silent-mux"
    master = ["-S", str(socket), "-o", "ControlPersist=no", "-M", "-N", "-f", "bastion"]
    subprocess.run(alice.command(*master), check=True, timeout=30)
    silent = [alice.popen("-S", str(socket), "-W", "web-1:22", "bastion") for _ in range(70)]
    try:
        wait_until(lambda: any(process.poll() is not None for process in silent), "a refusal")
        refused = next(process for process in silent if process.poll() is not None)
        assert refused.stderr is not None and b"refused by peer" in refused.stderr.read()
        assert alice.run("-J", "bastion", "deploy@web-1", "echo here").text == "here\n"
    finally:
        for process in silent:
            process.kill()
            process.communicate()
        subprocess.run(alice.command("-S", str(socket), "-O", "exit", "bastion"), check=False)
