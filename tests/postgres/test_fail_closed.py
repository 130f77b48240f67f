"""What cannot be recorded does not happen."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.postgres.conftest import Orders
from tests.rig.process import wait_until
from tests.server.recorded import rows

ROOM = 6_000_000
"""Bytes that a file of the bastion may have: more than its databases and their logs do, less than what is asked for."""


@contextmanager
def files_no_longer_than(orders: Orders, size: int) -> Iterator[None]:
    """The kernel refuses the running bastion what would make a file longer."""
    pid = orders.world.bastion.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("prepare", [False, True])
def test_statement_that_cannot_be_recorded_does_not_reach_the_server(orders: Orders, prepare: bool) -> None:
    statement = f"INSERT INTO items (id, name) VALUES (-1, '{'x' * 8_000_000}')"
    with (
        psycopg.connect(
            host=str(orders.sockets), user="writer", dbname="orders", autocommit=True
        ) as connection,
        files_no_longer_than(orders, ROOM),
    ):
        connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            connection.execute(statement, prepare=prepare)
        wait_until(lambda: rows(orders.world)[0]["ending"] != "live", "the session ended")
    assert rows(orders.world)[0]["ending"] == "recording failed"
    assert orders.server.sql("SELECT count(*) FROM items WHERE id < 0", database="orders") == "0"


def test_rows_that_cannot_be_recorded_do_not_reach_the_client(orders: Orders) -> None:
    """And no row is made up of what the bastion has to say: it may end amid one."""
    wide = ", ".join(f"repeat('{n % 10}', 190) AS c{n}" for n in range(60))
    asked = f"SELECT {wide}, n FROM generate_series(1, 70) n"
    whole: list[tuple[object, ...]] = []
    with psycopg.connect(
        host=str(orders.sockets), user="writer", dbname="orders", autocommit=True
    ) as connection:

        def ask_on() -> None:
            for _ in range(20):
                whole.extend(connection.cursor().stream(asked))

        with files_no_longer_than(orders, ROOM), pytest.raises(psycopg.OperationalError):
            ask_on()
    wait_until(lambda: rows(orders.world)[0]["ending"] == "recording failed", "the session ended")
    assert 70 < len(whole) < 20 * 70
    assert all(row[:60] == tuple(str(n % 10) * 190 for n in range(60)) for row in whole)
