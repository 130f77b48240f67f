"""A screen that is left as it was found, however what draws on it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from recorder.terminal import Terminal

RESTORE_DEADLINE = 1.0
"""Seconds that a cancelled screen waits for a client that reads nothing."""


@asynccontextmanager
async def leaving_clean(
    terminal: Terminal, *, resized: Callable[[], None], leave: Callable[[], bytes]
) -> AsyncIterator[None]:
    """Draw inside; at its end, and on any error, what *leave* gives is written. OSError: the terminal is gone."""
    was_resized, terminal.resized = terminal.resized, resized
    try:
        try:
            yield
        except (OSError, GeneratorExit):  # the latter: dropped unfinished, where nothing may be awaited
            raise
        except BaseException:
            with suppress(OSError):  # of which TimeoutError is one
                async with asyncio.timeout(RESTORE_DEADLINE):
                    await terminal.write(leave())
            raise
        await terminal.write(leave())
    finally:
        terminal.resized = was_resized
