"""The real bastion in a process of its own, started as a person starts it: `bastion --config FILE serve`.

Knows the command line, the line that says it is ready, and how to end it gently or at once.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.rig.openssh import Finished
from tests.rig.process import RigError, descendants, end, kill_all

PROGRAM = Path(sys.executable).with_name("bastion")


class Bastion:
    """One server over one configuration file. `with Bastion(file) as bastion: …`, or `start()` and `stop()`."""

    def __init__(self, config: Path, *, log: Path | None = None) -> None:
        """*config* is its bastion.toml; what it logs goes to *log*, by default `log` beside the configuration."""
        self.config = config.absolute()
        self.log_file = log or self.config.with_name("log")
        self.program: Sequence[str] = (str(PROGRAM),)
        self.port = 0
        self.issuer = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, timeout: float = 30.0) -> None:
        """Start and return once it serves; RigError with its log when it does not within *timeout* seconds."""
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as ready:
            try:
                with self.log_file.open("ab") as log:
                    self._process = subprocess.Popen(
                        self.command("serve", "--ready-fd", str(writing)),
                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[writing], start_new_session=True,
                    )  # fmt: skip
            finally:
                os.close(writing)
            line = _read_line(ready, timeout)
        if not line:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(
                    5
                )  # it closed the descriptor by ending; what it says by that is its status
            status = self.stop()
            raise RigError(f"the bastion did not get ready (exit status {status}):\n{self.log}")
        facts = json.loads(line)
        self.port, self.issuer = facts["port"], facts["issuer"] or ""

    def stop(self) -> int | None:
        """End it as a service manager does and return its exit status; None when it is not running."""
        process, self._process = self._process, None
        return None if process is None else end(process, timeout=40)

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory runs out: nothing gets to clean up."""
        process, self._process = self._process, None
        if process is not None:
            below = descendants(process.pid)
            process.send_signal(signal.SIGKILL)
            process.wait()
            kill_all(below)

    def wait(self) -> int:
        """Wait until it ends by itself, and return its exit status."""
        if self._process is None:
            raise RigError("the bastion is not running")
        return self._process.wait()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise RigError("the bastion is not running")
        return self._process.pid

    @property
    def log(self) -> str:
        """All it logged so far, over restarts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def run(self, *arguments: str, stdin: bytes = b"", timeout: float = 30.0, **variables: str) -> Finished:
        """Run another `bastion` command over the same configuration, with environment *variables* added."""
        done = subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, check=False, timeout=timeout,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **variables},
        )  # fmt: skip
        return Finished(status=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def command(self, *arguments: str) -> list[str]:
        """The argument list of a `bastion` command over the same configuration."""
        return [*self.program, "--config", str(self.config), *arguments]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _read_line(stream: IO[bytes], timeout: float) -> bytes:
    """One line; b"" when the writer closed before it was complete or *timeout* seconds went by."""
    line, deadline = b"", time.monotonic() + timeout
    while not line.endswith(b"\n"):
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not select.select([stream], [], [], remaining)[0]:
            return b""
        if not (chunk := os.read(stream.fileno(), 4096)):
            return b""
        line += chunk
    return line
