"""A terminal in memory: keys are typed by the test, what is written can be looked at."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ScriptedTerminal:
    """A `Terminal` whose other side is the test. *blocks* makes every write wait, like a client that reads nothing."""

    def __init__(
        self, *typed: bytes, term: str = "xterm-256color", columns: int = 80, rows: int = 24
    ) -> None:
        self.term = term
        self.columns = columns
        self.rows = rows
        self.resized: Callable[[], None] | None = None
        self.written = bytearray()
        self.reads = 0
        self.blocks = False
        self.is_blocked = asyncio.Event()
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()
        self._wrote = asyncio.Event()
        for data in typed:
            self.type(data)

    def type(self, data: bytes) -> None:
        """Type *data*; b"" ends the input."""
        self._typed.put_nowait(data)

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        if self.resized:
            self.resized()

    async def read(self) -> bytes:
        self.reads += 1
        return await self._typed.get()

    async def write(self, data: bytes) -> None:
        if self.blocks:
            self.is_blocked.set()
            await asyncio.Event().wait()
        self.written += data
        self._wrote.set()

    async def until(self, text: str) -> None:
        """Wait until *text* has been written (since the last `take`), styles aside."""
        while text not in self.text():
            self._wrote.clear()
            await self._wrote.wait()

    def text(self) -> str:
        """What was written, without escape sequences."""
        return _plain(self.written)

    def text_on_screen(self) -> str:
        """What was written since the screen was last cleared, without escape sequences."""
        return _plain(self.written[self.written.rindex(b"\x1b[2J") :])

    def take(self) -> bytes:
        """What was written so far; from here on anew."""
        data = bytes(self.written)
        self.written.clear()
        return data


class GoneTerminal(ScriptedTerminal):
    """A terminal whose every write fails, and whose input never ends by itself."""

    async def write(self, data: bytes) -> None:
        raise BrokenPipeError("gone")


def _plain(written: bytes | bytearray) -> str:
    return re.sub(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()].|[^\[()])", "", written.decode())


def start(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run *coroutine* beside the test, which awaits or cancels it."""
    return asyncio.get_running_loop().create_task(coroutine)
