"""The same programs, straight to the server and through the bastion: what they say is the same."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.postgres.conftest import WRITER_PASSWORD, Orders, statements
from tests.rig.postgres import programs
from tests.server.recorded import streams

SCRIPT = r"""
\set VERBOSITY verbose
\pset null (null)
CREATE TEMP TABLE t (n int PRIMARY KEY, t text, j jsonb, b bytea, d numeric, a int[]);
INSERT INTO t VALUES (1, 'ä€𝄞', '{"a": [1]}', '\x00ff', 1.50, '{1,NULL,3}'), (2, NULL, NULL, NULL, 'NaN', '{}')
RETURNING *;
SELECT * FROM t ORDER BY n;
SELECT n, n / 0 FROM t;
SELEC nothing;
SELECT 1 AS one; SELECT 2 AS two \; SELECT 3 AS three;
SELECT $1::int + $2 AS bound \bind 3 4 \g
SELECT n, t FROM t \gdesc
SELECT;
;
DO $$ BEGIN RAISE NOTICE 'a notice'; RAISE WARNING 'a warning'; END $$;
BEGIN; SAVEPOINT s; INSERT INTO t VALUES (1); ROLLBACK TO s;
DECLARE c CURSOR FOR SELECT generate_series(1, 5); FETCH 2 FROM c; MOVE 1 IN c; FETCH ALL FROM c; COMMIT;
BEGIN; SELECT broken; SELECT 1; ROLLBACK;
COPY t (n, t) FROM STDIN;
10	ten
11	\N
\.
COPY t (n, t) FROM STDIN;
not a number	x
\.
COPY (SELECT n, t FROM t ORDER BY n) TO STDOUT WITH CSV HEADER;
PREPARE p AS SELECT $1::text || '!'; EXECUTE p('x'); DEALLOCATE p; EXECUTE p('x');
SELECT lo_create(4711) > 0 AS made; SELECT lo_put(4711, 0, 'abc'); SELECT lo_get(4711); SELECT lo_unlink(4711);
LISTEN news; NOTIFY news, 'payload'; SELECT 'after';
EXPLAIN (COSTS OFF) SELECT * FROM t WHERE n = 1;
SELECT repeat('long ', 60000) AS long \g (format=unaligned)
SELECT n FROM generate_series(1, 3000) n;
SET client_encoding = 'LATIN1'; SELECT 'ä' AS latin; RESET client_encoding;
SELECT pg_terminate_backend(pg_backend_pid());
"""


def ways(orders: Orders) -> tuple[dict[str, str], dict[str, str]]:
    """The environment of a client that connects straight, and of one that comes through the bastion."""
    direct = {
        "PGHOST": "127.0.0.1", "PGPORT": str(orders.server.port), "PGUSER": "orders_writer",
        "PGPASSWORD": WRITER_PASSWORD, "PGSSLMODE": "require", "PGDATABASE": "orders",
    }  # fmt: skip
    through = {"PGHOST": str(orders.sockets), "PGPORT": "5432", "PGUSER": "writer", "PGDATABASE": "orders"}
    return direct, through


def run(way: Mapping[str, str], program: str, *arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        [programs() / program, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, **way},
    )  # fmt: skip
    return f"{done.stdout}{done.stderr}\n{done.returncode}"


def test_psql_says_the_same_of_everything_it_can_ask(orders: Orders) -> None:
    direct, through = (run(way, "psql", "-X", stdin=SCRIPT) for way in ways(orders))
    end_of_it = "terminating connection due to administrator command"
    said = [
        re.sub(r"PID \d+", "PID", each.partition(end_of_it)[0]).splitlines() for each in (direct, through)
    ]
    assert said[1] == said[0]
    assert len(said[0]) > 3000
    assert end_of_it in direct
    assert end_of_it in through


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_does_its_transactions(orders: Orders, mode: str) -> None:
    direct, through = ways(orders)
    run(direct, "pgbench", "-i", "-q")
    said = run(through, "pgbench", "-n", "-M", mode, "-c", "3", "-t", "20")
    assert "number of transactions actually processed: 60/60" in said
    assert "number of failed transactions: 0 " in said
    assert run(direct, "psql", "-XAtc", "SELECT count(*) FROM pgbench_history").startswith("60\n")


def test_results_come_in_parts_where_a_client_wants_them_so(orders: Orders) -> None:
    with psycopg.connect(host=str(orders.sockets), user="writer", dbname="orders") as connection:
        with connection.cursor(name="parts") as parts:
            parts.itersize = 100
            parts.execute("SELECT id FROM items ORDER BY id")
            assert [row[0] for row in parts] == list(range(1, 5001))
        with connection.cursor() as cursor, cursor.copy("COPY items TO STDOUT (FORMAT binary)") as copy:
            assert sum(len(data) for data in copy) > 100_000
        for number in range(60):
            assert connection.execute(f"SELECT {number}", prepare=True).fetchone() == (number,)
    told = [s.facts for s in statements(orders.recorded()) if s.text.startswith("COPY")]
    assert int(str(told[0]["copied"])) > 100_000


def test_a_client_that_reads_slowly_slows_the_server_and_not_our_memory(orders: Orders) -> None:
    """120 MB wait for a client that does not read them; the bastion holds a few."""
    before = peak(orders)
    with psycopg.connect(host=str(orders.sockets), user="writer", dbname="orders") as connection:
        seen = 0
        waits = threading.Event()
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY (SELECT repeat('x', 1000000) FROM generate_series(1, 120)) TO STDOUT") as copy,
        ):
            for number, data in enumerate(copy):
                seen += len(data)
                if number == 3:
                    waits.wait(1)
        assert seen == 120 * 1_000_001
    assert peak(orders) - before < 40_000_000


def peak(orders: Orders) -> int:
    """The most memory that the bastion ever had, in bytes."""
    status = Path(f"/proc/{orders.world.bastion.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


async def test_a_result_that_is_taken_in_portions_is_shown_as_one(orders: Orders) -> None:
    """As drivers do that have a fetch size: however small the portions, no more rows are shown than of one result."""
    connection = await asyncpg.connect(host=str(orders.sockets), user="reader", database="orders", ssl=False)
    async with connection.transaction():
        seen = [row[0] async for row in connection.cursor("SELECT id FROM items ORDER BY id", prefetch=100)]
    await connection.close()
    assert seen == list(range(1, 5001))
    recording = await asyncio.to_thread(orders.recorded)
    shown = streams(recording).output.decode()
    assert "\n 1000\n(more rows follow)" in shown
    assert " 1001" not in shown
    assert shown.count("(100 more rows, ") == 40
    portions = [s.facts["rows"] for s in statements(recording) if "FROM items" in s.text]
    assert portions == [100] * 50 + [0]


async def test_of_a_long_parameter_the_beginning_is_on_record(orders: Orders) -> None:
    connection = await asyncpg.connect(host=str(orders.sockets), user="reader", database="orders", ssl=False)
    found = await connection.fetchval("SELECT length($1::text) + $2::int", "ab" * 1_000_000, 7)
    await connection.close()
    assert found == 2_000_007
    told = statements(await asyncio.to_thread(orders.recorded))[-1].facts
    assert told["$1"] == "ab" * 4096 + "… (2000000 bytes)"
    assert "rest of" in str(told["$2"])
