"""What the bastion costs between a client and its PostgreSQL server.

    .venv/bin/python -m tests.bench.postgres

pgbench by simple and prepared statements with one client and eight, and a COPY of 200 MB, each straight to the server
(over TCP with TLS, as the bastion reaches it) and through ssh and the bastion, recorded. Compare ratios: client, ssh,
bastion and server share the cores.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.postgres.conftest import WRITER_PASSWORD, orders_in
from tests.rig.postgres import programs

SECONDS = 5
ROWS = 2_000_000


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as name, orders_in(Path(name)) as orders:
        server = orders.server
        server.sql("ALTER ROLE orders_writer SUPERUSER")
        direct = {
            "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "orders_writer", "PGDATABASE": "orders",
            "PGPASSWORD": WRITER_PASSWORD, "PGSSLMODE": "require",
        }  # fmt: skip
        through = {
            "PGHOST": str(orders.sockets),
            "PGPORT": "5432",
            "PGUSER": "writer",
            "PGDATABASE": "orders",
        }
        pgbench(direct, "-i", "-q")
        print(f"{'':24}{'direct':>20}{'bastion':>20}")
        for mode in ("simple", "prepared"):
            for clients in (1, 8):
                rates = [rate(way, mode, clients) for way in (direct, through)]
                cells = [f"{tps:.0f} tps {1000 * clients / tps:6.2f} ms" for tps in rates]
                print(f"{f'{mode}, {clients} clients':24}" + "".join(f"{cell:>20}" for cell in cells))
        server.sql(
            f"CREATE TABLE wide AS SELECT n, repeat('x', 90) AS t FROM generate_series(1, {ROWS}) n",
            database="orders",
        )
        cells = [f"{copy(way):.2f} s" for way in (direct, through)]
        print(f"{'COPY of 200 MB out':24}" + "".join(f"{cell:>20}" for cell in cells))


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
