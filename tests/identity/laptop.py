"""A person's machine: a home folder of its own, and `bastion login` run in it as a real process."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.identity.door import Door

URL = re.compile(r"http://127\.0\.0\.1:\d+/authorize\S+")
CODE = re.compile(r"\b[A-Z]{4}-[A-Z]{4}\b")


@dataclass
class Laptop:
    """A person's machine: a home folder, and `bastion login` in it."""

    home: Path
    door: Door

    @property
    def fingerprint(self) -> str:
        return self.door.host_key.get_fingerprint()

    async def start(self, *arguments: str, **variables: str) -> Command:
        """Start `bastion login ARGUMENTS` without a terminal."""
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "NO_COLOR": "1", **variables}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from cli.main import main; main()", "login", *arguments),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return Command(process)


class Command:
    """A running `bastion login`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said = ""

    async def says(self, pattern: re.Pattern[str]) -> str:
        """Wait until it prints something that fits *pattern*."""
        assert self._process.stderr is not None
        while (found := pattern.search(self.said)) is None:
            line = await self._process.stderr.readline()
            assert line, f"it ended without saying {pattern.pattern}: {self.said}"
            self.said += line.decode()
        return found[0]

    async def ends(self) -> tuple[int, str, str]:
        """Wait for its end; returns exit status, stdout and stderr."""
        out, error = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, out.decode(), self.said + error.decode()
