"""Sessions in a terminal with the stock client: what is typed arrives, what is shown is recorded."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.rig.openssh import Client
from tests.rig.process import end, wait_for_end, wait_until
from tests.rig.world import World
from tests.server.raw_client import connect
from tests.server.recorded import rows, streams, wait_for_ending


@pytest.fixture
def alice(world: World) -> Client:
    return world.certified("alice")


def resizes(path: Path) -> list[str]:
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    return [line[2] for line in lines if line[1] == "r"]


# Straight to a target


def test_every_byte_of_a_terminal_is_as_it_was_in_both_directions(world: World, alice: Client) -> None:
    ssh = alice.spawn(
        "-tt", "web-1@localhost", "stty raw -echo; printf 'ready\\r\\n'; head -c 9 | od -An -tx1"
    )
    try:
        ssh.expect("ready")
        ssh.send("a\rb\nc\x03\x04\x1a\x7f")
        ssh.expect("61 0d 62 0a 63 03 04 1a 7f")
        wait_for_end(ssh)
    finally:
        ssh.close(force=True)
    recorded = streams(world.recordings[-1])
    assert recorded.input == b"\r\n\x03\x04\x1a\x7f"  # what no echo showed is only counted
    assert recorded.output.startswith(b"ready\r\n 61 0d 62")


def test_interrupt_reaches_the_program(world: World, alice: Client) -> None:
    ssh = alice.spawn("-tt", "web-1@localhost", "trap 'echo caught; exit 7' INT; echo ready; sleep 30 & wait")
    try:
        ssh.expect("ready")
        ssh.sendcontrol("c")
        ssh.expect("caught")
        wait_for_end(ssh)
    finally:
        ssh.close(force=True)
    assert ssh.exitstatus == 7


def test_resize_arrives_at_the_target_and_in_the_recording(world: World, alice: Client) -> None:
    ssh = alice.spawn(
        "-tt", "web-1@localhost", "trap 'stty size' WINCH; stty size; echo ready; while :; do sleep 0.1; done",
        rows=24, columns=80,
    )  # fmt: skip
    try:
        ssh.expect("24 80")
        ssh.expect("ready")
        ssh.setwinsize(50, 132)
        ssh.expect("50 132")
        ssh.setwinsize(5, 20)
        ssh.expect("5 20")
    finally:
        ssh.close(force=True)
    wait_for_ending(world, "client disconnected")
    assert resizes(world.recordings[-1]) == ["132x50", "20x5"]


# The picker


def test_picker_filters_connects_and_is_back_after_the_session(world: World, alice: Client) -> None:
    ssh = alice.spawn("-t", "localhost")
    try:
        ssh.expect("Signed in as alice")
        ssh.expect("2 of 2")
        ssh.send("staging")
        ssh.expect("1 of 2")
        ssh.send("\r")
        ssh.expect(r"\$ ")
        ssh.send("echo on:$USER; exit 3\r")
        ssh.expect("on:deploy")
        ssh.expect("2 of 2")
        ssh.expect("exit status 3")
        ssh.sendcontrol("c")
        wait_for_end(ssh)
    finally:
        ssh.close(force=True)
    assert ssh.exitstatus == 0
    row = rows(world)[0]
    assert (row["target"], row["ending"], row["exit_status"]) == ("web-2", "exited", 3)


def test_what_is_typed_ahead_into_the_picker_is_recorded_and_arrives(world: World, alice: Client) -> None:
    ssh = alice.spawn("-t", "localhost")
    try:
        ssh.expect("Signed in as alice")
        ssh.send("web-1\recho ahead:$((6*7)); exit\r")
        ssh.expect("ahead:42")
        ssh.expect("the session has ended")
    finally:
        ssh.close(force=True)
    recorded = streams(world.recordings[-1])
    assert recorded.input == b"echo ahead:$((6*7)); exit\r"
    assert b"ahead:42" in recorded.output


@pytest.mark.parametrize(("rows_", "columns"), [(5, 20), (24, 80), (60, 200)])
def test_picker_works_at_any_size_and_after_a_resize(alice: Client, rows_: int, columns: int) -> None:
    ssh = alice.spawn("-t", "localhost", rows=rows_, columns=columns)
    try:
        ssh.expect("web-1")
        ssh.setwinsize(12, 40)
        ssh.expect("web-2")
        ssh.send("web-2\r")
        ssh.expect(r"\$ ")
        ssh.send("stty size; exit\r")
        ssh.expect("12 40")
    finally:
        ssh.close(force=True)


def test_dumb_terminal_gets_a_numbered_list(alice: Client) -> None:
    ssh = alice.spawn("-t", "localhost", term="dumb")
    try:
        ssh.expect("1  web-1")
        ssh.expect("number or name: ")
        ssh.send("1\r")
        ssh.expect(r"\$ ")
        ssh.send("exit\r")
        ssh.expect("the session has ended")
        ssh.expect("number or name: ")
        ssh.send("q\r")
        wait_for_end(ssh)
    finally:
        ssh.close(force=True)
    assert ssh.exitstatus == 0
    assert "\x1b" not in (ssh.before or "")


async def test_input_that_has_ended_ends_the_picker_too(world: World, alice: Client) -> None:
    async with await connect(world, alice, "x") as connection:
        process = await connection.create_process(term_type="xterm", term_size=(80, 24), encoding=None)
        process.stdin.write(b"web-1\rexit\r")
        process.stdin.write_eof()
        done = await process.wait(timeout=10)
        assert done.exit_status == 0
    assert rows(world)[0]["ending"] == "exited"


def test_target_that_is_down_leads_back_to_the_picker_with_the_reason(world: World, alice: Client) -> None:
    world.web_1.stop()
    ssh = alice.spawn("-t", "localhost")
    try:
        ssh.expect("Signed in as alice")
        ssh.send("web-1\r")
        ssh.expect("cannot be reached")
        ssh.expect("Signed in as alice|2 of 2")
    finally:
        ssh.close(force=True)
        world.web_1.start()


# While the server changes


def test_target_added_while_running_is_there_at_once_and_a_bad_file_changes_nothing(
    world: World, alice: Client
) -> None:
    file = world.folder / "targets.d" / "web-7.toml"
    known = (world.folder / "targets.d" / "web-1.toml").read_text()
    try:
        file.write_text(known.replace('"web-1"', '"web-7"'))
        os.kill(world.bastion.pid, signal.SIGHUP)
        wait_until(lambda: alice.run("web-7@localhost", "true").status == 0, "the new target")
        file.write_text("[[targets]]\nnam = 1\n")
        os.kill(world.bastion.pid, signal.SIGHUP)
        wait_until(lambda: "config.reload-refused" in world.bastion.log, "the refusal")
        assert alice.run("web-7@localhost", "true").status == 0
    finally:
        file.unlink()
        os.kill(world.bastion.pid, signal.SIGHUP)
    wait_until(lambda: alice.run("web-7@localhost", "true").status == 64, "the target to be gone")


def test_stop_with_a_picker_and_an_idle_connection_open_is_prompt(own_world: World) -> None:
    alice = own_world.certified("alice")
    ssh = alice.spawn("-t", "localhost")
    control = own_world.folder / "mux"
    master = alice.popen("-N", "-M", "-S", str(control), "x@localhost")
    try:
        ssh.expect("Signed in as alice")
        wait_until(control.exists, "the master connection")
        started = time.monotonic()
        assert own_world.bastion.stop() == 0
        assert time.monotonic() - started < 15
        wait_for_end(ssh)
        master.communicate(timeout=10)
    finally:
        ssh.close(force=True)
        master.kill()
    assert "task.failed" not in own_world.bastion.log


def test_server_that_waits_for_its_sessions_lets_no_other_in(own_world: World) -> None:
    config = own_world.bastion.config
    config.write_text(config.read_text().replace('drain_timeout = "1s"', 'drain_timeout = "30s"'))
    own_world.bastion.stop()
    own_world.bastion.start()
    alice = own_world.certified("alice")
    control = own_world.folder / "mux"
    master = alice.popen("-M", "-S", str(control), "x@localhost", "web-1 read line; echo $line")
    try:
        assert master.stdin
        wait_until(lambda: bool(rows(own_world)), "the session")
        os.kill(own_world.bastion.pid, signal.SIGTERM)
        wait_until(lambda: "server.draining" in own_world.bastion.log, "the server to drain")
        late = alice.run("-S", str(control), "x@localhost", "web-1 true")
        assert late.status == 77
        assert "the bastion is being stopped" in late.errors
        master.stdin.write(b"in peace\n")
        out, told = master.communicate(timeout=15)
        assert out == b"in peace\n"
        assert b"bastion: the bastion is being stopped: this session ends in 30s\n" in told
        assert own_world.bastion.wait() == 0
    finally:
        master.kill()


# Much of it


def test_keys_are_exchanged_anew_in_the_middle_of_a_transfer(alice: Client) -> None:
    done = alice.run("-o", "RekeyLimit=1M", "web-1@localhost", "head -c 20000000 /dev/zero", timeout=50)
    assert (done.status, len(done.stdout)) == (0, 20_000_000)


def test_hundred_sessions_leave_nothing_behind(world: World, alice: Client) -> None:
    control = world.folder / "mux"
    master = alice.popen("-N", "-M", "-S", str(control), "x@localhost")
    try:
        wait_until(control.exists, "the master connection")
        assert alice.run("-S", str(control), "x@localhost", "web-1 true").status == 0
        before = len(list(Path(f"/proc/{world.bastion.pid}/fd").iterdir()))
        for number in range(100):
            done = alice.run("-S", str(control), "x@localhost", f"web-{1 + number % 2} exit {number % 7}")
            assert done.status == number % 7
        wait_until(
            lambda: len(list(Path(f"/proc/{world.bastion.pid}/fd").iterdir())) <= before, "no open file more"
        )
    finally:
        end(master)
    assert "task.failed" not in world.bastion.log
