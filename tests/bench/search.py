"""What searching costs: `python -m tests.bench.search [LINES]` (a million by default).

Records sessions of 1,000 lines like those of a log, makes the index of their text, and searches it for texts that are
rare, common, short, absent, and such that only their parts are there. Also how late the event loop is meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import structlog

from recorder.events import Output
from recorder.header import Header
from recorder.index import Filter
from recorder.keys import SigningKey
from recorder.search import Query, search
from recorder.search_feed import rebuild_text
from recorder.search_index import FILE
from recorder.store import Store

SESSION = 1000
NEEDLE = "CVE-2031-4711 needle"


def log_lines(count: int) -> list[bytes]:
    source = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(source.choices(letters, k=source.randint(3, 10))) for _ in range(20_000)]

    def address() -> str:
        return ".".join(str(source.randint(0, 255)) for _ in range(4))

    lines = []
    for number in range(count):
        service, verb, what, name = source.choices(words, k=4)
        lines.append(
            f"Nov 24 06:{number % 60:02}:00 web-{number % 97} {service}[{source.randint(1, 99999)}]:"
            f" {verb} {what} from 10.{address()} \x1b[32m/var/{service}/{name}\x1b[m\r\n".encode()
        )
    lines[count // 2] = f"{NEEDLE}\r\n".encode()
    return lines


async def main(count: int, folder: Path) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    store = await Store.open(folder, key=SigningKey.generate(), is_searchable=False)
    lines = log_lines(count)
    for at in range(0, count, SESSION):
        recording = await store.begin(
            Header(
                started_at=1_795_500_000 + at, columns=200, rows=50, terminal="xterm", facts={"user": "ada"}
            )
        )
        await recording.append([Output(line) for line in lines[at : at + SESSION]])
        await recording.seal("exited", 0)
    text = sum(map(len, lines))
    rows = await store.index.list(Filter())
    late: list[float] = []

    async def tick() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.005)
            late.append(time.perf_counter() - start - 0.005)

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick())
        start = time.perf_counter()
        await asyncio.to_thread(lambda: [None for _ in rebuild_text(folder, rows)])
        took = time.perf_counter() - start
        ticking.cancel()
    size = sum(path.stat().st_size for path in folder.glob(f"{FILE}*"))
    cuts = statistics.quantiles(late, n=100)
    print(
        f"index {count:,} lines, {text / 1e6:.0f} MB: {took:.1f} s, {text / took / 1e6:.1f} MB/s,"
        f" {size / text:.2f} bytes on disk a byte"
    )
    print(f"event loop late meanwhile: median {cuts[49] * 1e3:.1f} ms, 99 % {cuts[98] * 1e3:.1f} ms")
    for name, wanted in (
        ("in one line", NEEDLE),
        ("absent", "xyzzy-nowhere"),
        ("an address", "10.77.3."),
        ("in every line", "Nov 24"),
        ("two characters", "zq"),
        ("two, absent", "Q#"),
        ("parts only", " from 10.1.2.3.4.5.6 /var/"),
    ):
        start = time.perf_counter()
        found = [one async for one in search(store.index, Query(text=wanted, narrow=Filter(limit=20)))]
        took = time.perf_counter() - start
        print(f"search {name:16} {wanted!r:28} {len(found):3} sessions {took * 1e3:7.0f} ms")
    await store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, Path(temporary)))
