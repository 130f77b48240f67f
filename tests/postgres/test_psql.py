"""psql on a terminal through the bastion, as a person uses it, and what of it can be seen from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from bastion.connectors.postgres.psql_program import psql_problem
from recorder.events import Happened
from recorder.reader import open_recording
from tests.postgres.conftest import READER_PASSWORD, WRITER_PASSWORD, Orders
from tests.rig.process import descendants, wait_for_end, wait_until
from tests.server.recorded import rows, streams

PROMPT = "orders=> "


@pytest.fixture(autouse=True)
def _box() -> None:
    if problem := psql_problem():
        pytest.skip(problem)


@pytest.fixture
def psql(orders: Orders) -> Iterator[pexpect.spawn[str]]:
    child = orders.alice.spawn("-t", "x@localhost", "orders-db")
    child.expect_exact(PROMPT)
    yield child
    child.close(force=True)


def test_person_works_in_it_as_anywhere(orders: Orders, psql: pexpect.spawn[str]) -> None:
    psql.sendline("SELECT id, name FROM items WHERE id = 7;")
    psql.expect_exact("7 | item 7")
    psql.expect_exact(PROMPT)
    psql.send("SELECT * FROM it\t")  # completion of a table's name asks the server
    psql.expect_exact("items")
    psql.sendline("LIMIT 1;")
    psql.expect_exact("1 | item 1")
    psql.expect_exact(PROMPT)
    psql.setwinsize(30, 100)
    psql.sendline("\\d items")
    psql.expect_exact("items_pkey")
    psql.expect_exact(PROMPT)
    psql.sendline("\\q")
    wait_for_end(psql)
    psql.close()
    assert psql.exitstatus == 0
    session = rows(orders.world)[0]
    assert (session["target"], session["login"], session["action"], session["exit_status"]) == (
        "orders-db", "reader", "shell", 0,
    )  # fmt: skip
    recording = orders.recorded()
    assert b"7 | item 7" in streams(recording).output
    with open_recording(recording) as reader:
        told = [e.event for e in reader if isinstance(e.event, Happened)]
    asked = next(t for t in told if t.what == "statement" and "WHERE id = 7" in t.text)
    done = next(t for t in told if t.what == "sql" and "WHERE id = 7" in t.text)
    assert told.index(asked) < told.index(done)
    assert (done.facts["rows"], done.facts["tag"]) == (1, "SELECT 1")


def test_ctrl_c_cancels_the_statement_and_the_session_goes_on(psql: pexpect.spawn[str]) -> None:
    psql.sendline("DO $$ BEGIN RAISE NOTICE 'it has %', 'begun'; PERFORM pg_sleep(60); END $$;")
    psql.expect_exact("it has begun")
    for key in ("\x03", "\x1c", "\x1a"):  # Ctrl-\ and Ctrl-Z do nothing
        psql.send(key)
    psql.expect_exact("canceling statement due to user request")
    psql.expect_exact(PROMPT)
    psql.sendline("SELECT 'still ' || 'here';")
    psql.expect_exact("still here")


def test_no_credential_is_in_the_box_or_in_what_can_be_seen_of_it(
    orders: Orders, psql: pexpect.spawn[str]
) -> None:
    seen = b""
    for pid in descendants(orders.world.bastion.pid):
        for name in ("cmdline", "environ"):
            try:
                seen += Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                continue
    assert b"bwrap" in seen
    psql.sendline("\\set")
    psql.expect_exact(PROMPT)
    psql.sendline("\\getenv x PGPASSWORD")
    psql.expect_exact(PROMPT)
    psql.sendline("\\conninfo")
    psql.expect_exact('as user "reader" via socket in "/s"')
    everything = seen + orders.world.recordings[-1].read_bytes() + orders.world.bastion.log.encode()
    for secret in (READER_PASSWORD, WRITER_PASSWORD, "orders_writer"):
        assert secret.encode() not in everything


def test_other_roles_and_databases_by_c_are_decided_by_the_bastion(psql: pexpect.spawn[str]) -> None:
    psql.sendline("\\c archive")
    psql.expect_exact('You are now connected to database "archive"')
    psql.sendline("\\c orders writer")
    psql.expect_exact("this session is one of reader")
    psql.sendline("\\c postgres")
    psql.expect_exact("has no database postgres")


def test_commands_and_scripts_without_a_terminal(orders: Orders) -> None:
    alice = orders.alice
    done = alice.run("x@localhost", "orders-db -Atc 'SELECT count(*) FROM items'")
    assert (done.text, done.errors, done.status) == ("5000\n", "", 0)
    done = alice.run(
        "x@localhost", "orders-db/archive writer -At -c 'SELECT current_user, current_database()'"
    )
    assert done.text == "orders_writer|archive\n"
    done = alice.run("writer@orders-db@localhost", stdin=b"SELECT 1 AS one;\nSELECT broken;\n\\echo end\n")
    assert "one" in done.text
    assert done.text.endswith("end\n")
    assert 'column "broken" does not exist' in done.errors
    done = alice.run("x@localhost", "orders-db -v ON_ERROR_STOP=1 -c 'SELECT broken'")
    assert done.status == 1
    for words, expected in (
        ("orders-db -f /etc/passwd", "option -f not recognized"),
        ("orders-db --output=x", "option --output not recognized"),
        ("orders-db/payroll -c 'SELECT 1'", "has no database payroll"),
        ("orders-db boss", "as boss; you may as reader, writer"),
    ):
        refused = alice.run("x@localhost", words)
        assert expected in refused.errors
        assert refused.status


def test_result_that_is_larger_than_the_box_ends_in_an_error_of_psql_and_the_session_lives(
    psql: pexpect.spawn[str],
) -> None:
    psql.sendline("SELECT repeat('x', 1000000) FROM generate_series(1, 1500);")
    psql.expect_exact("out of memory for query result", timeout=60)
    psql.sendline("SELECT 'alive' || '!';")
    psql.expect_exact("alive!")


def test_box_is_gone_with_its_session_and_its_folder_too(orders: Orders) -> None:
    child = orders.alice.spawn("-t", "x@localhost", "orders-db")
    child.expect_exact(PROMPT)
    session = rows(orders.world)[0]["id"]
    folder = orders.world.data / "run" / session
    assert folder.is_dir()
    child.close(force=True)
    wait_until(lambda: not folder.exists(), "the folder gone")
    assert not [pid for pid in descendants(orders.world.bastion.pid) if session in command_of(pid)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
