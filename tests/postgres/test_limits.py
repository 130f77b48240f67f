"""What rules say of databases and statements, held to against a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.postgres.conftest import Orders, statements
from tests.rig.process import end, wait_until

SETTINGS = """
[[targets]]
kind = "postgres"
name = "limited-db"
address = "127.0.0.1"
port = {port}
databases = ["*"]
tls_ca = "{folder}/ca.crt"
accounts = [{{ login = "writer", role = "orders_writer", password_file = "{folder}/writer.password" }}]

[[policy.rules]]
name = "looking at orders"
groups = ["sre"]
targets = ["limited-db"]
logins = ["writer"]
[policy.rules.postgres]
databases = ["orders"]
read_only = true
statement_timeout = "1s"
idle_in_transaction_timeout = "1s"

[[policy.rules]]
name = "the archive"
groups = ["sre"]
targets = ["limited-db"]
logins = ["writer"]
postgres = {{ databases = ["archive"] }}
"""


@pytest.fixture(scope="module")
def limited(orders: Orders) -> Iterator[str]:
    """The folder of a socket that leads to the target with limits."""
    folder = orders.sockets / "limited"
    folder.mkdir()
    orders.world.configure(SETTINGS.format(port=orders.server.port, folder=orders.sockets.parent))
    forwarding = orders.alice.popen("-N", "-L", f"{folder}/.s.PGSQL.5432:limited-db:5432", "x@localhost")
    wait_until((folder / ".s.PGSQL.5432").exists, "alice's ssh listening")
    yield str(folder)
    end(forwarding)


def connect(folder: str, database: str = "orders", **options: str) -> psycopg.Connection[tuple[object, ...]]:
    wanted = {"host": folder, "user": "writer", "dbname": database, "sslmode": "disable", **options}
    return psycopg.connect(autocommit=True, **wanted)  # type: ignore[arg-type]


def test_databases_are_those_that_rules_name(limited: str) -> None:
    with pytest.raises(
        psycopg.OperationalError, match=r"no rule lets you .* in the database postgres on limited-db"
    ):
        connect(limited, "postgres")


def pipelined(connection: psycopg.Connection[tuple[object, ...]], *statements: str) -> None:
    """Ask for all of them at once; which of the calls hears of an error, timing decides."""
    with connection.pipeline():
        for statement in statements:
            connection.execute(statement, prepare=True)


def test_a_session_reads_and_does_not_write(orders: Orders, limited: str) -> None:
    with connect(limited, options="-c default_transaction_read_only=off") as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (5000,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="cannot execute DELETE"):
            connection.execute("DELETE FROM items")
        lifting = "SET default_transaction_read_only = off"
        for prepare in (False, True):
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="the bastion lets you read only"):
                connection.execute(lifting, prepare=prepare)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="the bastion lets you read only"):
            connection.execute("BEGIN; SET TRANSACTION READ WRITE; DELETE FROM items")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            pipelined(connection, "SELECT 1", lifting, "SELECT 2")
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (5000,)
    told = [statement for statement in statements(orders.recorded()) if statement.text == lifting]
    assert [statement.facts["sqlstate"] for statement in told] == ["25006"] * 3


def test_another_database_has_limits_of_its_own(limited: str) -> None:
    with connect(limited, "archive") as connection:
        connection.execute("CREATE TEMP TABLE mine AS SELECT 1")
        assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_statement_that_runs_too_long_is_cancelled_whatever_the_client_told_the_server(limited: str) -> None:
    with connect(limited) as connection:
        with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
            connection.execute("SELECT pg_sleep(60)")
        connection.execute("SET statement_timeout = 0")
        with pytest.raises(psycopg.errors.QueryCanceled, match="user request"):
            connection.execute("SELECT pg_sleep(60)")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_transaction_that_is_left_alone_ends_the_session(limited: str) -> None:
    with connect(limited) as connection:
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.execute("BEGIN")
        time.sleep(2.5)
        with pytest.raises(psycopg.OperationalError, match="kept open for too long"):
            connection.execute("SELECT 1")
