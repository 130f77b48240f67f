"""A box for one client program: an empty, read-only file system with what it needs to start, and one socket.

In it are no shell, no network, no /proc, no other user's anything, and nothing that can be written. It is made with
bubblewrap, a filter of system calls, and limits of memory; without one of them there is no box, and nothing runs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from bastion.connectors.seccomp import seccomp_filter
from bastion.errors import TargetError

MEMORY = 1024 * 1024 * 1024
"""Bytes of memory that a program may have: a result that is larger ends in an error of the program."""
OPEN_FILES = 64
SOCKETS = Path("/s")
"""Where the folder with the socket stands inside."""

_TERMINAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_TERMINFO = ("/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo")
_LOCALES = (Path("/usr/lib/locale/C.utf8"), Path("/usr/lib/locale/C.UTF-8"))
_LIBRARY = re.compile(r"=> (/\S+) \(|^\s*(/\S+) \(", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxed:
    """What runs in a box: a *program* of this machine, and the folder with the *sockets* that it may use."""

    program: Path
    arguments: Sequence[str]
    sockets: Path
    terminal: str = "dumb"
    environment: Mapping[str, str] = field(default_factory=dict)


def what_is_missing() -> str:
    """What this machine lacks for a box, as words for ops; empty if it lacks nothing."""
    if seccomp_filter(os.uname().machine) is None:
        return f"no filter of system calls is known for processors of the kind {os.uname().machine}"
    for program, package in (("bwrap", "bubblewrap"), ("setsid", "util-linux"), ("prlimit", "util-linux")):
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install {package}"
    try:
        _try()
    except (OSError, subprocess.SubprocessError) as error:
        return (
            f"bubblewrap cannot make a box: {_said(error)}; user namespaces must be allowed (sysctl"
            " user.max_user_namespaces, kernel.unprivileged_userns_clone,"
            " kernel.apparmor_restrict_unprivileged_userns), by the unit of the service too (docs/psql.md)"
        )
    return ""


@lru_cache(maxsize=1)
def _try() -> None:
    """Make a box, once: what works goes on working, and what does not is tried again when it has been mended."""
    program = Path(shutil.which("true") or "/bin/true")
    filtering = open_filter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            boxed = Boxed(program=program, arguments=(), sockets=Path(folder))
            subprocess.run(
                box_command(boxed, filter_descriptor=filtering),
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=10,
                pass_fds=[filtering],
            )  # fmt: skip
    finally:
        os.close(filtering)


def _said(error: Exception) -> str:
    words = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else ""
    return words or str(error)


def box_command(boxed: Boxed, *, filter_descriptor: int | None) -> list[str]:
    """The command that runs *boxed*; *filter_descriptor* gives bubblewrap the filter of system calls."""
    inside = f"/app/{boxed.program.name}"
    command = [
        # Limits, and signals that the terminal sends: bubblewrap must not die of them, the program asks for its own.
        "prlimit", "--core=0", "--fsize=0", f"--as={MEMORY}", f"--nofile={OPEN_FILES}",
        "env", "--ignore-signal=INT", "--ignore-signal=QUIT", "--ignore-signal=TSTP", "--default-signal=PIPE",
        "bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--cap-drop", "ALL",
        "--uid", "1000", "--gid", "1000", "--clearenv", "--perms", "0755", "--tmpfs", "/",
    ]  # fmt: skip
    for library in _libraries(boxed.program):
        command += ["--ro-bind", os.path.realpath(library), library]
    command += ["--ro-bind", os.path.realpath(boxed.program), inside]
    for path in (_terminfo(boxed.terminal), *(path for path in _LOCALES if path.exists())):
        if path is not None:
            command += ["--ro-bind", os.path.realpath(path), str(path)]
    for device in ("/dev/null", "/dev/tty"):
        command += ["--dev-bind", device, device]
    command += ["--ro-bind", str(boxed.sockets), str(SOCKETS), "--remount-ro", "/", "--chdir", "/"]
    environment = {
        "PATH": "/app",
        "HOME": "/",
        "TERM": boxed.terminal,
        "LANG": "C.UTF-8",
        **boxed.environment,
    }
    for name, value in environment.items():
        command += ["--setenv", name, value]
    if filter_descriptor is not None:
        command += ["--seccomp", str(filter_descriptor)]
    return [*command, "--", inside, *boxed.arguments]


def open_filter() -> int:
    """A descriptor from which the filter is read, for the caller to close. Raises TargetError where there is none."""
    program = seccomp_filter(os.uname().machine)
    if program is None:
        raise TargetError("the bastion can make no box on this machine")
    reading, writing = os.pipe()
    try:
        os.write(writing, program)  # less than what a pipe holds
    finally:
        os.close(writing)
    return reading


def known_terminal(name: str) -> str:
    """*name* if this machine describes such a terminal, else one that every program can use."""
    return name if _terminfo(name) is not None else "dumb"


def _terminfo(name: str) -> Path | None:
    if _TERMINAL.fullmatch(name) is None:
        return None
    places = (
        Path(folder) / letter / name for folder in _TERMINFO for letter in (name[0], f"{ord(name[0]):x}")
    )
    return next((place for place in places if place.is_file()), None)


@lru_cache(maxsize=16)
def _libraries(program: Path) -> tuple[str, ...]:
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False, timeout=10)
    return tuple(found[0] or found[1] for found in _LIBRARY.findall(done.stdout))
