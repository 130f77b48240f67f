"""People's own clients through the SSH port: no password, every statement on record, nothing of the account shown."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest

from recorder.events import Noted
from recorder.reader import open_recording
from tests.postgres.conftest import READER_PASSWORD, WRITER_PASSWORD, Orders, statements
from tests.rig.postgres import programs
from tests.rig.process import end, wait_until
from tests.server.recorded import rows, streams


def connect(orders: Orders, **options: str) -> psycopg.Connection[tuple[object, ...]]:
    wanted = {"host": str(orders.sockets), "user": "reader", "dbname": "orders", **options}
    return psycopg.connect(autocommit=True, **wanted)  # type: ignore[arg-type]


def test_psql_of_ones_own_just_works_and_replays_as_a_conversation(orders: Orders) -> None:
    done = orders.psql("-c", "SELECT id, name FROM items ORDER BY id LIMIT 2", "-c", "SELECT nothing")
    assert done.stdout.splitlines()[2:4] == ["  1 | item 1", "  2 | item 2"], done.stderr
    assert 'column "nothing" does not exist' in done.stderr
    session = rows(orders.world)[0]
    assert (session["user"], session["target"], session["login"], session["action"], session["kind"]) == (
        "alice", "orders-db", "reader", "connect", "postgres",
    )  # fmt: skip
    recording = orders.recorded()
    shown = streams(recording).output.decode()
    assert shown.startswith(
        "orders=> SELECT id, name FROM items ORDER BY id LIMIT 2\n"
        " id |  name\n----+--------\n 1  | item 1\n 2  | item 2\nSELECT 2  ("
    )
    assert 'ERROR:  column "nothing" does not exist (42703)\n' in shown
    first, second = statements(recording)
    assert (first.text, first.facts["rows"], first.facts["tag"]) == (
        "SELECT id, name FROM items ORDER BY id LIMIT 2", 2, "SELECT 2",
    )  # fmt: skip
    assert (second.facts["sqlstate"], second.facts["database"], second.facts["login"]) == (
        "42703",
        "orders",
        "reader",
    )


def test_statement_is_on_record_before_the_server_sees_it(orders: Orders) -> None:
    """It waits for a lock that we hold: what the recording says meanwhile is what it said before it went on."""
    lock = ["BEGIN", "LOCK items IN ACCESS EXCLUSIVE MODE"]
    with psycopg.connect(
        host=str(orders.server.folder), port=orders.server.port, user="postgres", dbname="orders"
    ) as holder:
        for statement in lock:
            holder.execute(statement)
        with subprocess.Popen(
            orders.command("-At", "-c", "SELECT count(*) FROM items"), stdout=subprocess.PIPE
        ) as psql:
            try:
                wait_until(
                    lambda: any("count(*)" in path.read_text() for path in orders.world.recordings[-1:]),
                    "the statement on record",
                )
                assert b"5000" not in orders.world.recordings[-1].read_bytes()
            finally:
                holder.rollback()
            assert psql.communicate(timeout=10)[0] == b"5000\n"


def test_who_one_is_and_where_it_is_on_record_stands_in_pg_stat_activity(orders: Orders) -> None:
    asked = "SELECT usename, application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    role, name = orders.psql("-At", "-c", asked).stdout.strip().split("|")
    assert role == "orders_reader"
    assert name == f"alice/{rows(orders.world)[0]['id']} psql"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-U", "writer", "-d", "archive", "-At", "-c", "SELECT current_user"), ""),
        (("-U", "certified", "-At", "-c", "SELECT current_user"), ""),
        (("-d", "payroll", "-c", "SELECT 1"), "has no database payroll"),
        (("-U", "broken", "-c", "SELECT 1"), "does not let the bastion sign in"),
    ],
)
def test_which_role_and_database_a_client_gets(
    orders: Orders, arguments: tuple[str, ...], words: str
) -> None:
    done = orders.psql(*arguments)
    assert (done.returncode == 0) is not bool(words)
    assert words in done.stderr
    for secret in (READER_PASSWORD, WRITER_PASSWORD, "nobody_like_this", "orders_reader"):
        assert secret not in done.stderr


def test_who_names_no_login_is_told_who_they_are_and_so_is_the_recording(orders: Orders) -> None:
    done = orders.psql("-U", "nobody_wé_know", "-Atc", "SELECT current_user")
    assert (done.returncode, done.stdout) == (0, "orders_reader\n")
    assert done.stderr == (
        "NOTICE:  bastion: orders-db has no login nobody_w\\xe9_know; you are reader\n"
        "HINT:  You may be: reader, writer, certified, broken\n"
    )
    with open_recording(orders.recorded()) as reader:
        notes = [e.event.text for e in reader if isinstance(e.event, Noted)]
    assert notes == ["orders-db has no login nobody_wé_know; the client got reader"]


def test_changing_to_somebody_who_is_no_login_does_not_look_like_having_done_so(orders: Orders) -> None:
    script = "\\c - writer\nSELECT current_user;\n\\c - orders_writer\nSELECT current_user;\n"
    done = orders.psql("-U", "reader", "-At", stdin=script)
    roles = [line for line in done.stdout.splitlines() if line.startswith("orders_")]
    assert roles == ["orders_writer", "orders_reader"]
    assert done.stderr.startswith("NOTICE:  bastion: orders-db has no login orders_writer; you are reader\n")


@pytest.mark.parametrize("user", ["reader", "writer", "alice"])
def test_who_names_a_login_or_themselves_hears_nothing(orders: Orders, user: str) -> None:
    done = orders.psql("-U", user, "-Atc", "SELECT 1")
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_role_that_is_not_granted_is_refused_and_told_which_are(orders: Orders) -> None:
    bob = orders.world.certified("bob")
    sockets = orders.sockets / "bob"
    sockets.mkdir(exist_ok=True)
    forwarding = bob.popen("-N", "-L", f"{sockets}/.s.PGSQL.5432:orders-db:5432", "x@localhost")
    try:
        wait_until((sockets / ".s.PGSQL.5432").exists, "bob's ssh listening")
        done = orders.psql("-h", str(sockets), "-U", "writer", "-c", "SELECT 1")
        assert "in the database orders on orders-db as writer; you may as reader" in done.stderr
        assert orders.psql("-h", str(sockets), "-At", "-c", "SELECT 7").stdout == "7\n"
    finally:
        end(forwarding)


def test_passwords_in_statements_are_kept_out(orders: Orders) -> None:
    done = orders.psql("-U", "writer", "-c", "ALTER ROLE orders_writer PASSWORD 'hunter2'")
    orders.server.sql(f"ALTER ROLE orders_writer PASSWORD '{WRITER_PASSWORD}'")
    assert done.stdout == "ALTER ROLE\n"
    text = orders.recorded().read_text()
    assert "hunter2" not in text
    assert "PASSWORD [masked]" in text


def test_rows_beyond_the_limit_are_counted_and_digested(orders: Orders) -> None:
    done = orders.psql("-At", "-c", "SELECT id FROM items ORDER BY id")
    assert len(done.stdout.splitlines()) == 5000
    shown = streams(orders.recorded()).output.decode()
    assert "\n 1000\n(4,000 more rows, " in shown
    assert "SHA-256" in shown
    assert statements(orders.recorded())[0].facts["rows"] == 5000


def test_drivers_that_speak_the_extended_protocol_show_values_and_parameters(orders: Orders) -> None:
    with connect(orders) as connection:
        found = connection.execute("SELECT name FROM items WHERE id = %s", (42,), binary=True).fetchall()
        assert found == [("item 42",)]
        with connection.pipeline():
            results = [connection.execute("SELECT %s::int + 1", (n,)) for n in range(20)]
        assert [result.fetchone() for result in results] == [(n + 1,) for n in range(20)]
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / %s", (0,))
        assert connection.execute("SELECT 'still here'").fetchone() == ("still here",)
    recording = orders.recorded()
    told = statements(recording)
    assert (told[0].text, told[0].facts["$1"]) == ("SELECT name FROM items WHERE id = $1", "42")
    assert "item 42" in streams(recording).output.decode()
    assert [s.facts["$1"] for s in told if s.text == "SELECT $1::int + 1"] == [str(n) for n in range(20)]
    assert told[-2].facts["sqlstate"] == "22012"


async def test_asyncpg_with_binary_values_copy_and_notifications(orders: Orders) -> None:
    connection = await asyncpg.connect(host=str(orders.sockets), user="writer", database="orders", ssl=False)
    try:
        row = await connection.fetchrow(
            "SELECT $1::int AS n, $2::text AS t, $3::timestamptz AS at", 7, "x", None
        )
        assert tuple(row) == (7, "x", None)
        await connection.execute("CREATE TEMP TABLE copies (n int, t text)")
        copied = await connection.copy_records_to_table(
            "copies", records=[(n, "t" * 10) for n in range(5000)]
        )
        assert copied == "COPY 5000"
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await connection.add_listener("news", lambda *said: heard.set_result(said[3]))
        await connection.execute("NOTIFY news, 'payload'")
        assert await asyncio.wait_for(heard, 5) == "payload"
        big = await connection.fetchval("SELECT repeat('x', 50000000)")
        assert len(big) == 50_000_000
    finally:
        await connection.close()
    recording = await asyncio.to_thread(orders.recorded)
    assert recording.stat().st_size < 200_000
    facts = {s.text.split(" (")[0]: s.facts for s in statements(recording)}
    copy = next(f for text, f in facts.items() if text.startswith("COPY"))
    assert copy["copied"] == 5000 * 24 + 21  # binary form: header, rows of 24 bytes, trailer
    assert "NOTIFY news: payload" in streams(recording).output.decode()
    assert " 7 | x | NULL" in streams(recording).output.decode()


def test_call_of_a_function_by_its_number_is_refused_and_the_session_goes_on(orders: Orders) -> None:
    done = orders.psql("-c", "\\lo_import /etc/hostname", "-c", "SELECT 'goes on'")
    assert "passes on statements, and no calls of functions" in done.stderr
    assert "goes on" in done.stdout


def test_cancel_ends_the_statement_and_keeps_the_session(orders: Orders) -> None:
    with connect(orders) as connection:
        connection.add_notice_handler(lambda _: threading.Thread(target=connection.cancel).start())
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("DO $$ BEGIN RAISE NOTICE 'begun'; PERFORM pg_sleep(60); END $$")
        assert connection.execute("SELECT 'after'").fetchone() == ("after",)
    assert statements(orders.recorded())[0].facts["sqlstate"] == "57014"


def test_kill_ends_a_session_with_a_word(orders: Orders) -> None:
    with connect(orders) as connection:
        connection.execute("SELECT 1")
        session = rows(orders.world)[0]["id"]
        assert orders.world.bastion.run("kill", session, "--message", "enough").status == 0
        wait_until(lambda: rows(orders.world)[0]["ending"] != "live", "the session ended")
        with pytest.raises(psycopg.OperationalError, match="enough"):
            connection.execute("SELECT 1")


def test_pg_dump_gives_what_it_gives_without_us(orders: Orders) -> None:
    dump: list[str | Path] = [programs() / "pg_dump", "-t", "items", "--no-comments"]
    through = subprocess.run(
        [*dump, "-h", orders.sockets, "-U", "reader", "-d", "orders"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PGSSLMODE": "disable"}, check=False,
    )  # fmt: skip
    direct = subprocess.run(
        [*dump, "-h", orders.server.folder, "-p", str(orders.server.port), "-U", "postgres", "-d", "orders"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert through.returncode == 0, through.stderr
    assert plain(through.stdout) == plain(direct.stdout)


def plain(dump: str) -> list[str]:
    """Lines of a dump, without those that newer versions make at random."""
    return [line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
