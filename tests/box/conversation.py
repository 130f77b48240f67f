"""A boxed psql, or the same one without a box, as a person at a terminal would drive it; the test is the keyboard."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bastion.connectors.box import SOCKETS, Boxed, box_command, open_filter
from bastion.connectors.program import ProgramEnd, running
from bastion.transport.request import Pty
from recorder.events import Exited, Input, Killed, Output

PATIENCE = 20
TERMINAL = Pty(terminal="xterm-256color", columns=100, rows=30)


class Conversation:
    """Lines in, and what is printed until they are done."""

    def __init__(self, end: ProgramEnd) -> None:
        self.end = end
        self.printed = ""
        self._asked = 0

    async def ask(self, *lines: str) -> str:
        """Type *lines*; what came until psql, or a shell, has got through them."""
        self._asked += 1
        before = len(self.printed)
        # What is typed is echoed, with the quotes: only what is printed matches.
        await self.type("".join(f"{line}\n" for line in lines) + f"\\echo 'end' 'of {self._asked}'\n")
        await self.until(f"end of {self._asked}")
        return self.printed[before:]

    async def type(self, text: str) -> None:
        await self.end.deliver([Input(text.encode())])

    async def until(self, text: str) -> None:
        """Read until *text* was printed."""
        async with asyncio.timeout(PATIENCE):
            while text not in self.printed:
                events = await self.end.receive()
                assert events, f"it ended before it said {text!r}: {self.printed[-2000:]}"
                self.printed += b"".join(e.data for e in events if isinstance(e, Output)).decode()

    async def leave(self) -> Exited | Killed | None:
        """Quit, and see how it ended."""
        await self.type("\\q\n")
        async with asyncio.timeout(PATIENCE):
            while await self.end.receive():
                pass
        return self.end.exit


@dataclass(frozen=True, slots=True, kw_only=True)
class Psql:
    """A psql of this machine, and the folder with the socket of a server."""

    program: Path
    sockets: Path

    def boxed(self, *arguments: str) -> Boxed:
        return Boxed(
            program=self.program,
            arguments=["-X", "-P", "pager=off", *arguments],
            sockets=self.sockets,
            terminal=TERMINAL.terminal,
            environment={
                "PGHOST": str(SOCKETS), "PGPORT": "5432", "PGUSER": "postgres", "PGDATABASE": "postgres",
                "PSQL_HISTORY": "/dev/null", "PSQL_PAGER": "", "PAGER": "", "PGPASSFILE": "/none",
            },
        )  # fmt: skip

    @asynccontextmanager
    async def inside(self, *arguments: str, pty: Pty | None = TERMINAL) -> AsyncIterator[Conversation]:
        """In the box."""
        filtering = open_filter()
        try:
            command = box_command(self.boxed(*arguments), filter_descriptor=filtering)
            async with running(command, pty, descriptors=[filtering]) as end:
                yield Conversation(end)
        finally:
            os.close(filtering)

    @asynccontextmanager
    async def outside(self, home: Path, *arguments: str) -> AsyncIterator[Conversation]:
        """The same without a box: what an escape does there."""
        command = [
            "env", "-i", f"PATH={os.environ['PATH']}", f"HOME={home}", f"TERM={TERMINAL.terminal}", "LANG=C.UTF-8",
            f"PGHOST={self.sockets}", "PGPORT=5432", "PGUSER=postgres", "PGDATABASE=postgres",
            str(self.program), "-X", "-P", "pager=off", *arguments,
        ]  # fmt: skip
        async with running(command, TERMINAL, descriptors=[]) as end:
            yield Conversation(end)
