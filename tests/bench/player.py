"""What opening and seeking a recording costs: `python -m tests.bench.player [MEGABYTES]` (1,000 by default).

Records a session that prints lines, and one that a full-screen program draws; makes their key points; then opens them
and seeks with them, and for comparison without, as a player that knows no key points has to. Also how much of the
recording is written to the viewer's terminal for it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from recorder.events import Output
from recorder.header import Header
from recorder.index import Filter
from recorder.keys import SigningKey
from recorder.playback import Tape, survey
from recorder.player_points import PlayerPoints
from recorder.player_reel import Reel
from recorder.player_stage import Stage
from recorder.seek_index import FILE, Kept, read_kept
from recorder.seek_points import KeyPoints
from recorder.seek_scan import Scan
from recorder.store import Store
from recorder.terminal.abilities import abilities_of

CHUNK = 32 * 1024


class Sink:
    """A terminal that takes everything at once."""

    term = "xterm-256color"
    columns, rows = 100, 30
    resized: Callable[[], None] | None = None
    taken = 0

    async def read(self) -> bytes:
        return b""

    async def write(self, data: bytes) -> None:
        self.taken += len(data)


def lines(size: int) -> Iterator[bytes]:
    for number in range(size // CHUNK):
        line = b"drwxr-xr-x  2 root root 4096 Nov 24 06:08 \x1b[01;34mfolder-%d\x1b[0m\r\n" % number
        yield (line * (CHUNK // len(line) + 1))[:CHUNK]


def pages(size: int) -> Iterator[bytes]:
    yield b"\x1b[?1049h"
    made = 0
    while made < size:
        rows = (
            b"\x1b[%d;1H%8d \x1b[32mroot\x1b[m 20 0 %d S 0.0 command-%d\x1b[K" % (y, made, y, y)
            for y in range(1, 25)
        )
        page = b"".join(rows)
        made += len(page)
        yield page


async def record(store: Store, chunks: Iterator[bytes]) -> Path:
    recording = await store.begin(Header(started_at=time.time(), columns=80, rows=24, terminal="xterm"))
    for chunk in chunks:
        await recording.append([Output(chunk)])
    await recording.seal("exited", 0)
    return recording.path


def scanned(path: Path) -> float:
    start = time.perf_counter()
    with path.open("rb") as file:
        Scan(file).run()
    return time.perf_counter() - start


async def seeks(path: Path, kept: Kept, parts: tuple[float, ...]) -> list[str]:
    """The time from one place to the next, and what was written for it."""
    found = survey(path)
    sink, told = Sink(), []
    with path.open("rb") as file:
        stage = Stage(found.header, abilities_of(sink.term))
        reel = Reel(Tape(file), stage, sink, PlayerPoints(path, kept, is_gentle=False))
        for part in parts:
            sink.taken, start = 0, time.perf_counter()
            await reel.wind(found.length * part, lambda: True)
            told.append(f"{part:4.0%} {time.perf_counter() - start:8.3f} s {sink.taken / 1e6:7.1f} MB")
    return told


async def main(size: int, folder: Path) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    store = await Store.open(folder, key=SigningKey.generate(), is_searchable=False)
    paths = {"lines": await record(store, lines(size)), "pages": await record(store, pages(size // 10))}
    await store.seek.wait()
    rows = {row.path: row for row in await store.index.list(Filter())}
    await store.close()
    print(f"kept: {(folder / FILE).stat().st_size / 1e3:.0f} kB for both")
    for name, path in paths.items():
        megabytes = path.stat().st_size / 1e6
        took = scanned(path)
        print(
            f"{name}, {megabytes:.0f} MB of recording: scanned in {took:.1f} s, {megabytes / took:.0f} MB/s"
        )
        start = time.perf_counter()
        survey(path)
        kept = read_kept(folder, rows[path].id, path)
        assert kept is not None
        print(f"  open, with {len(kept.points):,} key points: {(time.perf_counter() - start) * 1e3:.0f} ms")
        for told in await seeks(path, kept, (0.0, 1.0, 0.5, 0.9, 0.1)):
            print(f"  seek to {told}")
        none = Kept(kept.columns, kept.rows, True, {}, KeyPoints())
        for told in await seeks(path, none, (0.9, 0.1)):
            print(f"  without key points {told}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(int(sys.argv[1] if len(sys.argv) > 1 else 1000) * 1_000_000, Path(temporary)))
