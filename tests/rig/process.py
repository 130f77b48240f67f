"""Starting and ending programs: no orphan is left, no fixed time is slept.

Knows processes and deadlines, not what the programs are for.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pexpect


class RigError(Exception):
    """A program of the rig could not be started, or did not do what was waited for."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now; whoever binds it must be ready to lose the race for it.

    It lies below those that systems give to outgoing connections, so that none takes it while its server restarts; and
    it is a random one, for tests that run side by side.
    """
    return next_free(random.randrange(10_000, 32_000))


def next_free(port: int) -> int:
    """*port* of 127.0.0.1 if it is free, else the next that is; 0 stays 0."""
    for candidate in range(port, port + 50):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", candidate))
            return candidate
    raise RigError(f"no port from {port} to {port + 49} is free")


def wait_until(condition: Callable[[], bool], what: str, *, timeout: float = 10.0) -> None:
    """Return as soon as *condition* holds; RigError naming *what* when it does not within *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise RigError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(0.01)


def wait_for_end(child: pexpect.spawn[str]) -> None:
    """Wait until the program in a terminal has closed it and exited: `close` would hang up on it in between."""
    child.expect(pexpect.EOF)
    child.wait()


def descendants(pid: int) -> list[int]:
    """The processes below *pid*, parents first."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found = [pid]
    for process in found:
        found.extend(children.get(process, ()))
    return found[1:]


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that has ended and is not reaped yet does not count."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def end(process: subprocess.Popen[bytes], *, timeout: float = 10.0) -> int:
    """End *process* and all below it: a polite signal first, SIGKILL after *timeout* seconds. Returns its status."""
    below = descendants(process.pid)
    process.terminate()
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        status = process.wait()
    end_all(below, timeout=timeout)
    return status


def end_all(pids: list[int], *, timeout: float = 10.0) -> None:
    """End processes that are not our children: SIGTERM and, for shells, SIGHUP; SIGKILL after *timeout* seconds."""
    alive = [pid for pid in pids if _signal(pid, signal.SIGTERM) and _signal(pid, signal.SIGHUP)]
    try:
        wait_until(
            lambda: not any(map(is_running, alive)), "processes that were told to end", timeout=timeout
        )
    except RigError:
        for pid in alive:
            _signal(pid, signal.SIGKILL)


def running(*arguments: str) -> list[int]:
    """The processes that have all of *arguments* in their command line, one after the other."""
    wanted = " ".join(arguments)
    found = []
    for pid, _ in _parents():
        with suppress(FileNotFoundError, ProcessLookupError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if wanted in line:
                found.append(pid)
    return found


def kill_all(pids: list[int]) -> None:
    """SIGKILL, for a test of what a power cut leaves behind."""
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, pids)), "processes ending after SIGKILL")


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            yield int(entry.name), int(fields[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
