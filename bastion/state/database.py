"""One SQLite file behind one connection: opening, migrating, running statements, transactions.

Knows SQL as text and nothing of what the tables mean. Statements outside a transaction commit by themselves. SQLite's
own errors come out as StateError.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiosqlite

from bastion.errors import StateError
from bastion.runtime.files import check_private_file, create_file, make_private_folder

BUSY_TIMEOUT = 5.0
"""Seconds to wait for another process (a command of the operator's) that is writing."""

Value = str | int | float | None
Row = sqlite3.Row


class Transaction:
    """Statements that take effect together or not at all; handed out by `Database.transaction`."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *values: Value) -> list[Row]:
        """Run one statement to its end and return its rows."""
        with _as_state_error():
            return list(await self._connection.execute_fetchall(sql, values))


class Database:
    """The open file. Any number of tasks may use it; they take turns.

    aiosqlite runs what it is given in a thread, first in, first out, also when the caller was cancelled meanwhile.
    Two rules follow. A statement is always fetched to its end in one go, so that a cancelled caller leaves no open
    cursor, which would hold a read lock. And a transaction's rollback is queued before its lock is released, so that
    whatever comes next finds no transaction open.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._statements = Transaction(connection)
        self._turn = asyncio.Lock()
        self._seen_version = -1

    @classmethod
    async def open(cls, path: Path, steps: Sequence[Sequence[str]], *, create: bool = True) -> Database:
        """Open *path*, creating it readable for us alone if *create*, and bring its tables up to date."""
        _prepare_file(path, create)
        with _as_state_error():
            connection = await aiosqlite.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
        database = cls(connection)
        try:
            connection.row_factory = sqlite3.Row
            await database.fetch("PRAGMA journal_mode = WAL")
            await database.fetch("PRAGMA synchronous = FULL")  # a revocation must survive a power cut
            await database.fetch("PRAGMA foreign_keys = ON")
            await database._migrate(path, steps)
            await database.changed()
        except BaseException:
            await connection.close()
            raise
        return database

    async def close(self) -> None:
        async with self._turn:
            await self._connection.close()

    async def fetch(self, sql: str, *values: Value) -> list[Row]:
        """Run one statement, which commits by itself, and return its rows."""
        async with self._turn:
            return await self._statements.fetch(sql, *values)

    async def fetch_one(self, sql: str, *values: Value) -> Row | None:
        """The first row of a statement, or None."""
        rows = await self.fetch(sql, *values)
        return rows[0] if rows else None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Run the statements of the block as one; an exception or a cancellation undoes them all."""
        async with self._turn:
            try:
                # IMMEDIATE takes the write lock at once: a later upgrade could fail halfway as "locked".
                await self._statements.fetch("BEGIN IMMEDIATE")
                yield self._statements
                await self._statements.fetch("COMMIT")
            except BaseException:
                await self._connection.rollback()  # does nothing when there is nothing to roll back
                raise

    async def copy_to(self, path: Path) -> None:
        """Write all of it, as of one moment, to *path*, which is made for us alone and must not be there."""
        create_file(path, b"")  # SQLite would make it readable for others; it takes an empty one
        await self.fetch("VACUUM INTO ?", str(path))

    async def changed(self) -> bool:
        """Whether another process or connection has committed something since this was last asked."""
        row = await self.fetch_one("PRAGMA data_version")
        assert row is not None
        seen, self._seen_version = self._seen_version, int(row[0])
        return seen != self._seen_version

    async def _migrate(self, path: Path, steps: Sequence[Sequence[str]]) -> None:
        async with self.transaction() as transaction:
            await transaction.fetch(
                "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT"
            )
            rows = await transaction.fetch("SELECT version FROM schema_version")
            version = int(rows[0][0]) if rows else 0
            if version > len(steps):
                raise StateError(
                    f"{path} was written by a newer bastion (schema {version}; this one knows {len(steps)}).",
                    hint="Run the newer version again, or restore the backup made before the upgrade.",
                )
            if version == len(steps):
                return
            for step in steps[version:]:
                for statement in step:
                    await transaction.fetch(statement)
            await transaction.fetch("DELETE FROM schema_version")
            await transaction.fetch("INSERT INTO schema_version VALUES (?)", len(steps))


def _prepare_file(path: Path, create: bool) -> None:
    """See to it that SQLite finds a file of ours alone; -wal and -shm beside it take over its mode."""
    if not path.exists():
        if not create:
            raise StateError(f"There is no state database at {path}.", hint="Run `bastion init` first.")
        make_private_folder(path.parent)
        with suppress(FileExistsError):  # another process was faster; what it made is checked below
            create_file(path, b"")
    check_private_file(path)


@contextmanager
def _as_state_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(f"The state database failed: {error}.", hint=_hint(error)) from error


def _hint(error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the low byte is the primary result code
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "Another process holds it; try again, and look for a `bastion` command that hangs."
        case sqlite3.SQLITE_FULL:
            return "Make room on its file system."
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN:
            return "It and its folder must be writable for the service's user."
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return "The file is damaged; restore it from a backup."
        case _:
            return ""
