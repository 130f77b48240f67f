"""A process that records and says what was acknowledged, until somebody kills it."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from recorder.events import ErrorOutput, Event, Input, Output
from recorder.store import Store
from tests.recorder.casts import KEY, header

FRAME = struct.Struct(">HBI")  # which recording, which stream, how many bytes
KINDS: tuple[type[Output] | type[ErrorOutput] | type[Input], ...] = (Output, ErrorOutput, Input)


def events(seed: int) -> Iterator[Event]:
    """Keys, echoes and floods of text and of bytes, cut anywhere; always the same for the same *seed*."""
    source = random.Random(seed)
    text = "Grüße, 日本語 🙂\r\n".encode() * 4000
    while True:
        size = source.choice((1, 1, 2, 3, 50, 1000, 40_000))
        at = source.randrange(len(text) - size)
        data = source.randbytes(size) if source.random() < 0.2 else text[at : at + size]
        yield KINDS[source.choice((0, 0, 0, 1, 2))](data)


def record_until_killed(folder: Path, acknowledged: Connection) -> None:
    """Write two recordings at once. After each append has returned, and not before, its bytes go to *acknowledged*."""

    async def session(store: Store, number: int) -> None:
        recording = await store.begin(header("xterm" if number else None))
        for event in events(number):
            await recording.append([event])
            assert isinstance(event, Output | ErrorOutput | Input)
            frame = FRAME.pack(number, KINDS.index(type(event)), len(event.data)) + event.data
            while frame:
                frame = frame[os.write(acknowledged.fileno(), frame) :]

    async def main() -> None:
        store = await Store.open(folder, key=KEY, min_free_bytes=0)
        await asyncio.gather(session(store, 0), session(store, 1))

    asyncio.run(main())
