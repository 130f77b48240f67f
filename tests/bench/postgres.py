"""What the bastion costs between a client and its PostgreSQL server.

    .venv/bin/python -m tests.bench.postgres

pgbench by simple and prepared statements with one client and eight, and a COPY of 200 MB out, each straight to the
server (over TCP with TLS, as the bastion reaches it), the same through a port that stock ssh and sshd forward, through
ssh and the bastion, and through one that keeps nothing. Each begins when the bastion is through with what it does of
recordings that ended. Compare ratios: client, ssh, bastion and server share the cores.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.bench import unrecorded
from tests.postgres.conftest import WRITER_PASSWORD, Orders, listening, orders_in
from tests.rig.openssh import Client
from tests.rig.postgres import programs
from tests.rig.process import descendants, end, free_port, wait_until

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
        measured = {"direct": measure(direct, orders)}
        with forwarded(orders, Path(name) / "stock") as port:
            measured["stock sshd"] = measure({**direct, "PGPORT": str(port)}, orders)
        measured["bastion"] = measure(through(orders.sockets), orders)
        orders.world.bastion.stop()
        orders.world.bastion.program = unrecorded.COMMAND
        orders.world.bastion.start()
        with listening(orders.alice, Path(name) / "unrecorded") as sockets:
            measured["not recorded"] = measure(through(sockets), orders)
    print(" " * 20 + "".join(f"{way:>26}" for way in measured))
    for what, base in measured["direct"].items():
        cells = [f"{values[what]:.2f}  (x {values[what] / base:.2f})" for values in measured.values()]
        print(f"{what:20}" + "".join(f"{cell:>26}" for cell in cells))


@contextmanager
def forwarded(orders: Orders, folder: Path) -> Iterator[int]:
    """A port from which ssh and the sshd of a target forward to the server."""
    sshd, port = orders.world.web_1, free_port()
    client = Client(folder, port=sshd.port)
    sshd.authorize("deploy", client.public_key)
    client.trust_host()
    forwarding = client.popen("-N", "-L", f"{port}:127.0.0.1:{orders.server.port}", "deploy@localhost")
    try:
        wait_until(
            lambda: subprocess.run([programs() / "pg_isready", "-qh127.0.0.1", f"-p{port}"]).returncode == 0,
            "ssh listening",
        )
        yield port
    finally:
        end(forwarding)


def through(sockets: Path) -> dict[str, str]:
    return {"PGHOST": str(sockets), "PGPORT": "5432", "PGUSER": "writer", "PGDATABASE": "orders"}


def measure(way: Mapping[str, str], orders: Orders) -> dict[str, float]:
    """Milliseconds of a transaction by mode and clients, and seconds of a COPY."""
    found = {}
    for mode in ("simple", "prepared"):
        for clients in (1, 8):
            settle(orders.world.bastion.pid)
            found[f"{mode}, {clients}, ms"] = 1000 * clients / rate(way, mode, clients)
    settle(orders.world.bastion.pid)
    found["COPY 200 MB, s"] = min(copy(way) for _ in range(3))
    return found


def settle(pid: int) -> None:
    """Return when that process has done next to nothing for a second, and none works for it."""
    used, before = cpu_seconds(pid), float("-inf")
    while used - before > 0.02 or descendants(pid):
        time.sleep(1)
        used, before = cpu_seconds(pid), used


def cpu_seconds(pid: int) -> float:
    """Seconds of processor time that a process has had (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


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
