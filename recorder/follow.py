"""Follows a recording while it is written: from its first byte to its seal, without any hold on the session.

It reads the file that the server writes, and sees what the client sees, because it was written before it was
delivered. Whoever follows slowly falls behind and misses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from recorder.catalog import is_live
from recorder.disk import reading
from recorder.events import ErrorOutput, Output
from recorder.reader import Reader, open_recording
from recorder.screen_filter import ScreenFilter
from recorder.terminal import Terminal
from recorder.terminal.keyboard import Key, KeyDecoder, read_keys

INTERVAL = 0.1
"""Seconds between looks for what was written."""

_PIECE = 64
"""Entries read at a time, in a thread: the event loop waits for no disk."""


async def followed_text(
    path: Path, screen: ScreenFilter, *, interval: float = INTERVAL
) -> AsyncIterator[str]:
    """All output of the recording at *path*, made safe to show by *screen*, as it comes.

    Ends with the seal, or when the server that wrote it is gone. FormatError when it is no recording.
    """
    with ExitStack() as stack:
        recording = await reading(stack.enter_context, open_recording(path))
        while True:
            is_written = await reading(
                is_live, path
            )  # first: what was written before this answer is read below
            async for text in _new_text(recording, screen):
                yield text
            if recording.seal is not None or not is_written:
                return
            await asyncio.sleep(interval)
            recording.again()


async def _new_text(recording: Reader, screen: ScreenFilter) -> AsyncIterator[str]:
    entries = iter(recording)
    while piece := await reading(list, islice(entries, _PIECE)):
        for entry in piece:
            if isinstance(entry.event, Output | ErrorOutput) and (text := screen.feed(entry.text)):
                yield text


async def follow(path: Path, terminal: Terminal) -> None:
    """Show a running session on *terminal* until it ends, or the viewer presses q or Ctrl-C."""
    screen = ScreenFilter()
    async with asyncio.TaskGroup() as tasks:
        showing = tasks.create_task(_show(path, terminal, screen))
        leaving = tasks.create_task(_wait_for_leave(terminal))
        await asyncio.wait([showing, leaving], return_when=asyncio.FIRST_COMPLETED)
        showing.cancel()
        leaving.cancel()
    await terminal.write(screen.restore().encode())


async def _show(path: Path, terminal: Terminal, screen: ScreenFilter) -> None:
    async for text in followed_text(path, screen):
        await terminal.write(text.encode("utf-8", "replace"))


async def _wait_for_leave(terminal: Terminal) -> None:
    keys = KeyDecoder()
    while (data := await read_keys(terminal, keys)) != b"":
        if any(key in ("q", Key.INTERRUPT, Key.END_OF_INPUT) for key, _ in keys.decode(data)):
            return
