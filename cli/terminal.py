"""The tty this command runs on, as a byte terminal: raw while it is open, and as before when it is closed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PIECE = 4096


class LocalTerminal:
    """Keys from one descriptor of a tty, output to another; made by `local_terminal`."""

    def __init__(self, keys: int, screen: int, term: str) -> None:
        self.term = term
        self.columns, self.rows = os.get_terminal_size(screen)
        self.resized: Callable[[], None] | None = None
        self._keys = keys
        self._screen = screen

    async def read(self) -> bytes:
        """The next keys; b"" once the tty has hung up."""
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._keys, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._keys)
        try:
            return os.read(self._keys, _PIECE)
        except OSError:  # EIO: nobody holds the other side any more
            return b""

    async def write(self, data: bytes) -> None:
        """Write in small pieces, so that keys are read in between; the descriptor stays blocking: others share it."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._screen, view[:_PIECE]) :]
            await asyncio.sleep(0)

    def measure(self) -> None:
        """The window may have changed."""
        self.columns, self.rows = os.get_terminal_size(self._screen)
        if self.resized is not None:
            self.resized()


@contextmanager
def local_terminal(term: str) -> Iterator[LocalTerminal]:
    """The tty of stdin and stdout, raw inside. SIGTERM and SIGHUP cancel the task, so that it is restored."""
    keys, screen = sys.stdin.fileno(), sys.stdout.fileno()
    terminal = LocalTerminal(keys, screen, term)
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("local_terminal needs a running task")
    handlers: dict[int, Callable[[], object]] = {
        signal.SIGWINCH: terminal.measure,
        signal.SIGTERM: task.cancel,
        signal.SIGHUP: task.cancel,
    }
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(keys)
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        tty.setraw(keys)
        yield terminal
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
