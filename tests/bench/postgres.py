"""What the bastion costs between a client and its PostgreSQL server.

    .venv/bin/python -m tests.bench.postgres

pgbench by simple and prepared statements with one client and eight, and a COPY of 200 MB out, each straight to the
server (over TCP with TLS, as the bastion reaches it), through ssh and the bastion, and through one that keeps nothing.
Compare ratios: client, ssh, bastion and server share the cores.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.bench import unrecorded
from tests.postgres.conftest import WRITER_PASSWORD, listening, orders_in
from tests.rig.postgres import programs

SECONDS = 5
ROWS = 2_000_000


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as name, orders_in(Path(name)) as orders:
        orders.server.sql("ALTER ROLE orders_writer SUPERUSER")
        direct = {
            "PGHOST": "127.0.0.1", "PGPORT": str(orders.server.port), "PGUSER": "orders_writer",
            "PGPASSWORD": WRITER_PASSWORD, "PGSSLMODE": "require", "PGDATABASE": "orders",
        }  # fmt: skip
        pgbench(direct, "-i", "-q")
        orders.server.sql(
            f"CREATE TABLE wide AS SELECT n, repeat('x', 90) AS t FROM generate_series(1, {ROWS}) n",
            database="orders",
        )
        measured = {"direct": measure(direct), "bastion": measure(through(orders.sockets))}
        orders.world.bastion.stop()
        orders.world.bastion.program = unrecorded.COMMAND
        orders.world.bastion.start()
        with listening(orders.alice, Path(name) / "unrecorded") as sockets:
            measured["not recorded"] = measure(through(sockets))
    print(" " * 20 + "".join(f"{way:>26}" for way in measured))
    for what, base in measured["direct"].items():
        cells = [f"{values[what]:.2f}  (x {values[what] / base:.2f})" for values in measured.values()]
        print(f"{what:20}" + "".join(f"{cell:>26}" for cell in cells))


def through(sockets: Path) -> dict[str, str]:
    return {"PGHOST": str(sockets), "PGPORT": "5432", "PGUSER": "writer", "PGDATABASE": "orders"}


def measure(way: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds of a transaction by mode and clients, and seconds of a COPY."""
    found = {}
    for mode in ("simple", "prepared"):
        for clients in (1, 8):
            found[f"{mode}, {clients}, ms"] = 1000 * clients / rate(way, mode, clients)
    found["COPY 200 MB, s"] = min(copy(way) for _ in range(3))
    return found


def pgbench(way: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [programs() / "pgbench", "-n", *arguments], env={**os.environ, "PGSSLMODE": "disable", **way},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def rate(way: Mapping[str, str], mode: str, clients: int) -> float:
    """Transactions a second, each one SELECT."""
    shown = pgbench(way, "-S", "-M", mode, "-c", str(clients), "-T", str(SECONDS))
    found = re.search(r"tps = ([\d.]+)", shown)
    assert found
    return float(found[1])


def copy(way: Mapping[str, str]) -> float:
    """Seconds that it takes to have the whole table."""
    started = time.monotonic()
    subprocess.run(
        [programs() / "psql", "-X", "-q", "-c", "\\copy wide TO /dev/null"],
        env={**os.environ, "PGSSLMODE": "disable", **way}, check=True, timeout=300,
    )  # fmt: skip
    return time.monotonic() - started


if __name__ == "__main__":
    main()
