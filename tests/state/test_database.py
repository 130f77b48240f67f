"""The database under the state: modes, migrations, transactions, other processes, cancelled callers."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

import bastion.state.database
from bastion.errors import KeyFileError, StateError
from bastion.state.database import Database
from bastion.state.schema import STEPS
from bastion.state.store import State

PAIRS = (("CREATE TABLE pairs (side TEXT, number INTEGER) STRICT",),)


async def open_pairs(path: Path) -> Database:
    return await Database.open(path, PAIRS)


async def insert_and_fail(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.fetch("INSERT INTO pairs VALUES ('left', 1)")
        await asyncio.sleep(0)
        raise LookupError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_every_file_of_the_database_is_readable_for_its_owner_alone_whatever_the_umask(
    path: Path,
) -> None:
    umask = os.umask(0)
    try:
        async with await State.open(path) as state:
            await state.audit.record("test.happened")
            files = list(path.parent.iterdir())
            assert {file.name for file in files} == {"state.db", "state.db-wal", "state.db-shm"}
            assert {mode(file) for file in files} == {0o600}
            assert mode(path.parent) == 0o700
    finally:
        os.umask(umask)


async def test_a_database_that_others_can_read_is_refused_with_the_command_that_mends_it(path: Path) -> None:
    await (await State.open(path)).close()
    path.chmod(0o640)
    with pytest.raises(KeyFileError) as refused:
        await State.open(path)
    assert refused.value.hint == f"chmod 600 {path}"


async def test_a_missing_database_is_not_made_by_a_command_that_only_reads(path: Path) -> None:
    with pytest.raises(StateError, match="no state database"):
        await State.open(path, create=False)
    assert not path.exists()


async def test_a_database_of_a_newer_bastion_is_refused(path: Path) -> None:
    await (await State.open(path)).close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE schema_version SET version = ?", (len(STEPS) + 1,))
    raw.close()
    with pytest.raises(StateError, match="written by a newer bastion"):
        await State.open(path)


async def test_only_the_steps_that_a_database_lacks_are_taken(path: Path) -> None:
    await (await Database.open(path, PAIRS)).close()
    more = (
        *PAIRS,
        ("ALTER TABLE pairs ADD COLUMN colour TEXT", "INSERT INTO pairs VALUES ('left', 1, 'red')"),
    )
    for _ in range(2):
        database = await Database.open(path, more)
        rows = await database.fetch("SELECT * FROM pairs")
        await database.close()
        assert [tuple(row) for row in rows] == [("left", 1, "red")]


async def test_a_step_that_fails_leaves_the_database_as_it_was(path: Path) -> None:
    await (await Database.open(path, PAIRS)).close()
    broken = (*PAIRS, ("INSERT INTO pairs VALUES ('left', 1)", "INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(StateError, match="no such table: nowhere"):
        await Database.open(path, broken)
    database = await Database.open(path, PAIRS)
    assert await database.fetch("SELECT * FROM pairs") == []
    await database.close()


async def test_a_file_that_is_no_database_is_named_as_damaged(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"this is no database, but long enough to look like one" * 20)
    path.chmod(0o600)
    with pytest.raises(StateError) as refused:
        await State.open(path)
    assert "restore it from a backup" in refused.value.hint


async def test_an_exception_in_a_transaction_undoes_all_of_it(path: Path) -> None:
    database = await open_pairs(path)
    with pytest.raises(LookupError):
        await insert_and_fail(database)
    assert await database.fetch("SELECT * FROM pairs") == []
    await database.close()


async def test_a_statement_of_another_task_waits_until_a_transaction_is_over(path: Path) -> None:
    """Otherwise it would take part in the transaction, and be undone with it."""
    database = await open_pairs(path)

    async def fail() -> None:
        with pytest.raises(LookupError):
            await insert_and_fail(database)

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        group.create_task(database.fetch("INSERT INTO pairs VALUES ('other', 2)"))
    assert [tuple(row) for row in await database.fetch("SELECT * FROM pairs")] == [("other", 2)]
    await database.close()


@pytest.mark.parametrize("turns", range(12))
async def test_a_caller_cancelled_at_any_moment_leaves_no_transaction_half_open(
    path: Path, turns: int
) -> None:
    database = await open_pairs(path)

    async def insert_pair() -> None:
        async with database.transaction() as transaction:
            await transaction.fetch("INSERT INTO pairs VALUES ('left', 1)")
            await transaction.fetch("INSERT INTO pairs VALUES ('right', 1)")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(insert_pair())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait_for(database.fetch("INSERT INTO pairs VALUES ('after', 2)"), 5)

    # Another connection sees only what was committed.
    with sqlite3.connect(path) as raw:
        sides = [side for (side,) in raw.execute("SELECT side FROM pairs ORDER BY rowid")]
    raw.close()
    assert sides in (["after"], ["left", "right", "after"])
    await database.close()


async def test_a_caller_cancelled_while_it_waits_for_another_writer_leaves_no_transaction_open(
    path: Path,
) -> None:
    database = await open_pairs(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def insert() -> None:
        async with database.transaction() as transaction:
            await transaction.fetch("INSERT INTO pairs VALUES ('left', 1)")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(insert())
        await asyncio.sleep(0)  # BEGIN is in the queue of the thread now, where it cannot be taken back
        task.cancel()
        await asyncio.sleep(0)
        other.execute("COMMIT")
    await database.fetch("INSERT INTO pairs VALUES ('after', 2)")
    assert other.execute("SELECT side FROM pairs").fetchall() == [("after",)]
    other.close()
    await database.close()


async def test_a_writer_that_does_not_let_go_is_reported_with_what_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bastion.state.database, "BUSY_TIMEOUT", 0.01)
    database = await open_pairs(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError) as failed:
        await database.fetch("INSERT INTO pairs VALUES ('left', 1)")
    assert "Another process holds it" in failed.value.hint
    other.close()
    await database.fetch("INSERT INTO pairs VALUES ('left', 1)")
    await database.close()


async def test_changes_of_others_are_noticed_once_and_our_own_are_not(path: Path) -> None:
    server, command = await State.open(path), await State.open(path)
    assert not await server.changed()
    await server.locks.lock("alice", reason="our own", by="test")
    assert not await server.changed()
    await command.locks.lock("bob", reason="of another", by="test")
    assert await server.changed()
    assert not await server.changed()
    await server.close()
    await command.close()
