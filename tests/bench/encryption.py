"""What encrypting at rest costs: `python -m tests.bench.encryption [MIB] [FOLDER]` (1024 by default).

Encrypts a recording of that size beside another that is being written, as the server does and without rests, and says
how late the event loop was meanwhile, and how long keys of that session took to be recorded, next to an idle server.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import structlog
from pyrage import x25519

from bastion.app import SWITCH_INTERVAL
from recorder.catalog import SessionRow
from recorder.events import Output
from recorder.header import Header
from recorder.journal import Recording
from recorder.keys import SigningKey
from recorder.recipients import Recipients
from recorder.store import Store
from recorder.terminal.text import plain

IDLE = 5.0


async def begin(store: Store) -> Recording:
    return await store.begin(
        Header(started_at=1_795_500_000, columns=80, rows=24, terminal="xterm", facts={})
    )


def told(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=1000)
    return ", ".join(
        f"{name} {value * 1e3:.2f} ms"
        for name, value in (
            ("median", cuts[499]),
            ("99 %", cuts[989]),
            ("99.9 %", cuts[998]),
            ("most", max(times)),
        )
    )


async def beside(recording: Recording, work: Awaitable[object], name: str) -> float:
    """Await *work* while somebody types in *recording*; say how that felt. Returns how long it took."""
    late: list[float] = []
    keys: list[float] = []

    async def tick() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - start - 0.001)

    async def type_keys() -> None:
        while True:
            start = time.perf_counter()
            await recording.append([Output(b"k")])
            keys.append(time.perf_counter() - start)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(tick()), group.create_task(type_keys())]
        start = time.perf_counter()
        await work
        took = time.perf_counter() - start
        for task in tasks:
            task.cancel()
    print(f"{plain(name)}: {took:.1f} s")
    print(f"  event loop late: {told(late)}")
    print(f"  a key recorded:  {told(keys)}")
    return took


async def main(mib: int, folder: Path) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    sys.setswitchinterval(SWITCH_INTERVAL)
    recipients = Recipients.parse([str(x25519.Identity.generate().to_public())])
    store = await Store.open(folder, key=SigningKey.generate(), recipients=recipients, min_free_bytes=0)
    assert store.encryption is not None
    live = await begin(store)
    await beside(live, asyncio.sleep(IDLE), "nothing else")
    for name, is_hurried in (("with rests", False), ("without", True)):
        big = await begin(store)
        for _ in range(mib):
            await big.append([Output(b"0123456789abcdef" * 4096)] * 16)
        add = store.encryption.add
        waiting: list[SessionRow] = []
        store.encryption.add = waiting.append  # type: ignore[method-assign,assignment]
        await big.seal("exited", 0)
        size = big.path.stat().st_size
        store.encryption.add = add  # type: ignore[method-assign]
        if is_hurried:
            store.encryption._rests.hurry()
        store.encryption.add(waiting[0])
        took = await beside(live, store.encryption.wait(), f"encrypting {size >> 20:,} MiB {name}")
        print(f"  {size / took / 1e6:.0f} MB/s")
        assert not big.path.exists()
    await live.seal("exited", 0)
    await store.close()


if __name__ == "__main__":
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as temporary:
        asyncio.run(main(size, Path(temporary)))
