"""The asciinema program from PyPI plays what we record (run as a program: its code is not ours to import)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.events import ErrorOutput, Event, Exited, Input, InputEnded, Killed, Noted, Output, Resized
from recorder.recovery import seal_unsealed
from tests.recorder.casts import KEY, cast

ASCIINEMA = shutil.which("asciinema", path=Path(sys.executable).parent) or "asciinema"
EVERYTHING: list[list[Event]] = [
    [Output("Grüße ".encode()), Input(b"ls\r")],
    [Output("日".encode()[:1]), Resized(100, 30, 800, 600)],
    [Output("日".encode()[1:] + b"\r\n"), Noted("a note"), Resized(0, 0)],
    [Output(b"\xff\x00\x1b[1mbold\x1b[0m\r\n"), InputEnded(), Killed("TERM", message="x"), Exited(1)],
]
SHOWN = "Grüße 日\r\n\ufffd\x00\x1b[1mbold\x1b[0m\r\n".encode()


def asciinema(*arguments: str | Path) -> bytes:
    done = subprocess.run(
        [ASCIINEMA, *arguments], capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A recording in which everything happens."""
    path = tmp_path / "a.cast"
    path.write_bytes(b"".join(cast(EVERYTHING, checkpoints=[1])))
    return path


@pytest.mark.parametrize("command", [("cat",), ("play", "-s", "100")])
def test_asciinema_shows_the_output_of_a_session(path: Path, command: tuple[str, ...]) -> None:
    assert asciinema(*command, path) == SHOWN


def test_asciinema_shows_a_command_without_a_terminal_line_by_line(path: Path) -> None:
    path.write_bytes(b"".join(cast([[Output(b"one\ntwo\n"), ErrorOutput(b"oops\n")]], terminal=None)))
    assert asciinema("cat", path) == b"one\r\ntwo\r\noops\r\n"


def test_asciinema_shows_what_is_there_of_a_running_session(path: Path) -> None:
    path.write_bytes(b"".join(cast(EVERYTHING, is_sealed=False)))
    assert asciinema("cat", path) == SHOWN


def test_asciinema_shows_a_recording_whose_torn_tail_was_repaired(path: Path) -> None:
    """It crashes on a torn line, so the repair is what keeps a crashed server's recordings playable."""
    torn = b"".join(cast(EVERYTHING, is_sealed=False))[:-20]
    path.write_bytes(torn)
    assert subprocess.run([ASCIINEMA, "cat", path], capture_output=True, check=False).returncode != 0
    seal_unsealed(path, key=KEY, trusted=(), ending="interrupted")
    assert asciinema("cat", path) == SHOWN


def test_asciinema_shows_an_empty_session(path: Path) -> None:
    path.write_bytes(b"".join(cast([])))
    assert asciinema("cat", path) == b""
    assert asciinema("play", path) == b""
