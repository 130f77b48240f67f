"""`bastion play`, straight through and in a real terminal."""

from __future__ import annotations

import os
import signal
import sys
import termios
from pathlib import Path

import pexpect
import pytest

from recorder.events import Output
from tests.cli.bastion_command import Command
from tests.cli.recorded import Recorded, record
from tests.recorder.casts import cast
from tests.rig.process import wait_for_end


@pytest.fixture
def recorded(run: Command) -> Recorded:
    return record(run.config)


@pytest.fixture
def long(tmp_path: Path) -> str:
    """A recording of two seconds."""
    file = tmp_path / "long.cast"
    file.write_bytes(b"".join(cast([[Output(b"line %d\r\n" % number)] for number in range(20)])))
    return str(file)


def in_terminal(
    run: Command, *arguments: str, term: str = "xterm", size: tuple[int, int] = (30, 100)
) -> pexpect.spawn[str]:
    """`bastion play …` on a PTY of its own."""
    program = "import sys; from cli.main import main; main(sys.argv[1:])"
    child: pexpect.spawn[str] = pexpect.spawn(
        sys.executable,
        ["-c", program, "--config", str(run.file), "play", *arguments],
        env={**os.environ, "TERM": term},
        cwd=str(Path(__file__).parents[2]),
        dimensions=size,
        timeout=30,
        encoding="utf-8",
    )
    return child


def test_a_pipe_gets_all_output_at_once_and_nothing_that_acts(run: Command, recorded: Recorded) -> None:
    done = run("play", recorded.ada)
    assert (done.status, done.out.splitlines()) == (0, ["hello"])


def test_a_replay_is_written_to_the_audit_trail_with_who_looked(run: Command, recorded: Recorded) -> None:
    run("play", recorded.ada)
    (event,) = run("audit", "--json", "--event", "recording").json
    assert (event["event"], event["session"]) == ("recording.played", recorded.ada)
    assert event["detail"]["of"] == "ada" and event["detail"]["uid"] == os.getuid()
    assert event["user"]


def test_a_replay_that_cannot_be_audited_is_refused(run: Command, recorded: Recorded) -> None:
    run.config.state_file.unlink()
    done = run("play", recorded.ada)
    assert done.status != 0
    assert "hello" not in done.out


def test_a_file_is_played_without_a_bastion(run: Command, recorded: Recorded, tmp_path: Path) -> None:
    file = tmp_path / "taken.cast"
    file.write_bytes(recorded.ada_file.read_bytes())
    run.file.unlink()
    assert run("play", str(file)).out.splitlines() == ["hello"]


@pytest.mark.parametrize("option", ["--at", "--idle-limit"])
def test_a_wrong_time_is_explained(run: Command, option: str) -> None:
    done = run("play", "x", option, "soon")
    assert done.status == 2
    assert "1m30s" in done.err


def test_what_is_no_recording_is_explained(run: Command, tmp_path: Path) -> None:
    (tmp_path / "x.cast").write_text("hello\n")
    done = run("play", str(tmp_path / "x.cast"))
    assert done.status == 65
    assert "not the header" in done.err


def test_a_terminal_sees_the_replay_and_gets_its_shell_back(run: Command, recorded: Recorded) -> None:
    child = in_terminal(run, recorded.ada)
    child.expect_exact("hello")
    child.expect_exact(f"of {recorded.ada} replayed")
    wait_for_end(child)
    child.close()
    assert child.exitstatus == 0


def test_keys_work_in_a_terminal(run: Command, long: str) -> None:
    child = in_terminal(run, long, "--speed", "0.1")
    child.expect_exact("? keys")
    child.send(" ")
    child.expect_exact("paused")
    child.setwinsize(40, 120)
    child.expect_exact("\x1b[40;1H")
    child.send("q")
    wait_for_end(child)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_the_terminal_cooked(run: Command, long: str, number: int) -> None:
    child = in_terminal(run, long, "--speed", "0.1")
    child.expect_exact("? keys")
    child.send(" ")
    child.expect_exact("paused")
    assert not _is_cooked(child)
    child.kill(number)
    child.expect_exact("replayed")
    wait_for_end(child)
    assert _is_cooked(child)
    child.close()
    assert child.exitstatus == (130 if number == signal.SIGINT else 143)


def _is_cooked(child: pexpect.spawn[str]) -> bool:
    return bool(termios.tcgetattr(child.child_fd)[3] & termios.ICANON)
