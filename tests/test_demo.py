"""`scripts/demo` as a person meets it; `scripts/demo --check` tells the rest of the story, in CI beside the tests."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.rig.process import end_all, free_port, is_running, running, wait_for_end, wait_until

DEMO = Path(__file__).parent.parent / "scripts/demo.py"
LAST_WORDS = "Ctrl-C here ends everything."


Start = Callable[..., "pexpect.spawn[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "demo"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """`start(port, *options)` starts a demo and waits until it has said its last words."""
    demos: list[pexpect.spawn[str]] = []

    def begin(port: int, *options: str, last_words: str = LAST_WORDS) -> pexpect.spawn[str]:
        arguments = [str(DEMO), "--folder", str(folder), "--port", str(port), *options]
        demos.append(
            pexpect.spawn(sys.executable, arguments, encoding="utf-8", timeout=60, dimensions=(60, 200))
        )
        demos[-1].expect_exact(last_words)
        return demos[-1]

    yield begin
    for demo in demos:
        demo.close(force=True)
    end_all(processes(folder))


def end(demo: pexpect.spawn[str]) -> int | None:
    """Press Ctrl-C; returns the exit status."""
    demo.sendintr()
    wait_for_end(demo)
    demo.close()
    return demo.exitstatus


def processes(folder: Path) -> list[int]:
    return [*running("-f", f"{folder}/web-"), *running(f"{folder}/bastion.toml", "serve")]


def test_it_says_what_to_type_and_ends_everything_on_ctrl_c(start: Start, folder: Path) -> None:
    demo = start(port := free_port())
    assert f"ssh -p {port} -t localhost web-1" in str(demo.before)
    assert folder.stat().st_mode & 0o777 == 0o700
    pids = processes(folder)
    assert len(pids) >= 3
    assert end(demo) == 0
    assert not any(map(is_running, pids))


def test_keys_stay_from_one_run_to_the_next_until_they_are_forgotten(start: Start) -> None:
    fingerprints = []
    for options in ((), (), ("--reset",)):
        demo = start(free_port(), *options)
        fingerprints += re.findall(r"SHA256:\S{43}", str(demo.before))
        end(demo)
    first, second, after_reset = fingerprints
    assert first == second != after_reset


def test_a_second_one_in_the_same_folder_is_told_so(start: Start) -> None:
    start(free_port())
    second = start(free_port(), last_words="another scripts/demo is running")
    wait_for_end(second)
    second.close()
    assert second.exitstatus == 1


def test_what_a_killed_one_left_is_ended_by_the_next(start: Start, folder: Path) -> None:
    killed = start(free_port())
    killed.kill(signal.SIGKILL)
    wait_for_end(killed)
    orphans = processes(folder)
    assert orphans
    start(free_port())
    wait_until(lambda: not any(map(is_running, orphans)), "the orphans ending")
