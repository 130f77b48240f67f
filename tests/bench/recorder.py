"""What recording costs: `python -m tests.bench.recorder [FOLDER]`.

Prints the latency of recording a keystroke and its echo (two appends of a byte), alone, in each of 100 sessions where
somebody types, and beside a flood, the throughput of 32 KiB chunks of several kinds, with what they take on disk, and
the speed of verification.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import structlog

from recorder.events import Input, Output
from recorder.header import Header
from recorder.journal import Recording
from recorder.keys import SigningKey
from recorder.store import Store
from recorder.verify import verify_file
from recorder.writer import Durability

CHUNK = 32 * 1024


def chunks(kind: str, size: int) -> list[bytes]:
    """*size* bytes in chunks, cut without regard to characters."""
    source = random.Random(1)
    words = {
        "text": b"drwxr-xr-x  2 root root 4096 Nov 24 06:08 \x1b[01;34mfolder\x1b[0m\r\n",
        "japanese": "日本語の文章はここにあります。\r\n".encode(),
    }
    data = source.randbytes(size) if kind == "random" else words[kind] * (size // len(words[kind]) + 1)
    return [data[at : at + CHUNK] for at in range(0, size, CHUNK)]


async def begin(store: Store, terminal: str | None) -> Recording:
    return await store.begin(Header(started_at=time.time(), columns=80, rows=24, terminal=terminal))


async def keystrokes(store: Store, count: int) -> str:
    recording = await begin(store, "xterm")
    took = []
    for _ in range(count):
        start = time.perf_counter()
        await recording.append([Input(b"a")])
        await recording.append([Output(b"a")])
        took.append((time.perf_counter() - start) * 1e6)
        await asyncio.sleep(0)
    await recording.seal("exited", 0)
    per_key = recording.path.stat().st_size / count
    cuts = statistics.quantiles(took, n=100)
    return f"median {cuts[49]:7.0f} µs   99 % {cuts[98]:7.0f} µs   {per_key:.0f} bytes on disk a key"


async def in_many_sessions(store: Store, sessions: int, count: int) -> str:
    """Keystrokes in *sessions* sessions at once; how long one took."""
    took: list[float] = []

    async def type_in() -> None:
        recording = await begin(store, "xterm")
        for _ in range(count):
            start = time.perf_counter()
            await recording.append([Input(b"a")])
            await recording.append([Output(b"a")])
            took.append((time.perf_counter() - start) * 1e6)
            await asyncio.sleep(0)
        await recording.seal("exited", 0)

    async with asyncio.TaskGroup() as group:
        for _ in range(sessions):
            group.create_task(type_in())
    cuts = statistics.quantiles(took, n=100)
    return f"median {cuts[49]:7.0f} µs   99 % {cuts[98]:7.0f} µs"


async def flood(store: Store, kind: str, terminal: str | None, size: int) -> tuple[str, Path]:
    recording = await begin(store, terminal)
    data = chunks(kind, size)
    start = time.perf_counter()
    for chunk in data:
        await recording.append([Output(chunk)])
    took = time.perf_counter() - start
    await recording.seal("exited", 0)
    factor = recording.path.stat().st_size / size
    return f"{size / took / 1e6:7.0f} MB/s   {factor:.2f} bytes on disk a byte", recording.path


async def beside_a_flood(store: Store, count: int) -> str:
    done = asyncio.Event()

    async def pour() -> None:
        recording = await begin(store, "xterm")
        data = chunks("text", 4 << 20)
        while not done.is_set():
            for chunk in data:
                await recording.append([Output(chunk)])
        await recording.seal("exited", 0)

    async with asyncio.TaskGroup() as group:
        group.create_task(pour())
        line = await keystrokes(store, count)
        done.set()
    return line


async def main(folder: Path) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    key = SigningKey.generate()
    durabilities: tuple[Durability, ...] = ("kernel", "disk")
    for durability in durabilities:
        store = await Store.open(folder / durability, key=key, durability=durability)
        count = 3000 if durability == "kernel" else 300
        print(f"{durability:6} keystroke and echo          {await keystrokes(store, count)}")
        print(f"{durability:6}   in 100 sessions at once   {await in_many_sessions(store, 100, 20)}")
        print(f"{durability:6}   beside a flood            {await beside_a_flood(store, count)}")
        for kind, terminal in (
            ("text", "xterm"),
            ("japanese", "xterm"),
            ("random", "xterm"),
            ("random", None),
        ):
            line, path = await flood(store, kind, terminal, 64 << 20)
            print(f"{durability:6} {kind + (' terminal' if terminal else ' no terminal'):27} {line}")
        await store.close()
    start = time.perf_counter()
    verdict = verify_file(path, [key.verify_key])
    size = path.stat().st_size
    print(f"verify {size / (time.perf_counter() - start) / 1e6:.0f} MB/s of file: {verdict.reason}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(Path(sys.argv[1])))
    else:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
            asyncio.run(main(Path(temporary)))
