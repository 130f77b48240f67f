"""The index of recordings: SQLite, derived, rebuilt from the files when it is missing, broken or of another schema.

Losing it loses nothing. The server writes it; others open it for reading, and get one made in memory where there is
none they could use.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec

from recorder.catalog import LIVE, SessionRow, read_row, recordings
from recorder.disk import reading
from recorder.errors import AmbiguousSession, FormatError, NoSuchSession, RecorderError
from recorder.folder import recording_file
from recorder.names import SessionId, as_typed

FILE = "index.db"
SCHEMA = 1  # changes with the table: there is no migration, the index is rebuilt

_PAGE = 100

Rows = list[SessionRow]
Broken = list[tuple[Path, FormatError]]

_TABLE = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, path TEXT NOT NULL, user TEXT NOT NULL, groups TEXT NOT NULL, target TEXT NOT NULL,
    kind TEXT NOT NULL, login TEXT NOT NULL, action TEXT NOT NULL, command TEXT NOT NULL,
    started_at REAL NOT NULL, ended_at REAL, ending TEXT NOT NULL, exit_status INTEGER,
    output_bytes INTEGER NOT NULL, input_bytes INTEGER NOT NULL, facts TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_start ON sessions (started_at);
CREATE INDEX sessions_by_user ON sessions (user, started_at);
CREATE INDEX sessions_by_target ON sessions (target, started_at);
"""
_COLUMNS = tuple(SessionRow.__dataclass_fields__)
# A session that has ended does not come back to life, however late the row of its beginning arrives.
_UPSERT = (
    f"INSERT INTO sessions ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 (constants)
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
    f" WHERE excluded.ending != '{LIVE}' OR sessions.ending = '{LIVE}'"
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM sessions"  # noqa: S608 (constants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which sessions to list, newest first; what is None does not narrow. Times are in Unix seconds."""

    user: str | None = None
    group: str | None = None
    target: str | None = None
    kind: str | None = None
    ending: str | None = None
    exit_status: int | None = None
    encrypted: bool | None = None
    since: float | None = None
    until: float | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """How a session ended, whether its seal has been read, and in which file."""

    ending: str
    is_sealed: bool
    path: Path


class Index:
    """An open index of the recordings in *folder*."""

    def __init__(
        self, folder: Path, database: aiosqlite.Connection, beside: aiosqlite.Connection | None = None
    ) -> None:
        self.folder = folder
        self._database = database
        self._reading = beside or database  # what is listed does not wait for a write that the disk holds up
        self._writing = asyncio.Lock()  # a connection has one transaction, whoever awaits

    @classmethod
    async def open(cls, folder: Path) -> Index:
        """Open the index for the server that writes it; rebuild it where it cannot be used."""
        database, beside, is_new = await _open_both(folder / FILE)
        index = cls(folder, database, beside)
        if is_new:
            await index.rebuild()
        return index

    async def reopen(self) -> None:
        """After a failure: open the index again, and bring it up with the files."""
        async with self._writing:
            await self.close()
            self._database, self._reading, _ = await _open_both(self.folder / FILE)
        await self.rebuild()

    @classmethod
    async def open_read(cls, folder: Path) -> Index:
        """Open the index to read only, beside a server or without one; make one in memory where none can be used."""
        usable = await _open_usable(folder / FILE, "ro")
        index = cls(folder, usable or await _create(":memory:"))
        if usable is None:
            await index.rebuild()
        return index

    async def close(self) -> None:
        if self._reading is not self._database:
            await self._reading.close()
        await self._database.close()

    async def list(self, narrow: Filter | None = None) -> Rows:
        """The sessions that pass *narrow*, newest first."""
        where, values = _conditions(narrow or Filter())
        rows = await self._reading.execute_fetchall(
            f"{_SELECT}{where} ORDER BY started_at DESC, id DESC LIMIT ?",
            (*values, -1 if narrow is None or narrow.limit is None else narrow.limit),
        )
        return [self._row(row) for row in rows]

    async def walk(self, narrow: Filter, ids: Sequence[SessionId] | None = None) -> AsyncIterator[SessionRow]:
        """Those of *ids*, or of all, that pass *narrow* (but for its limit), newest first.

        They come a few at a time from the database, and nobody has to wait for all.
        """
        where, values = _conditions(narrow)
        where = f"{where} AND" if where else " WHERE"
        if ids is not None:
            where += " id IN (SELECT value FROM json_each(?)) AND"
            values = [*values, _json(ids)]
        after: tuple[float, str] = (float("inf"), "")
        while True:
            rows = list(
                await self._reading.execute_fetchall(
                    f"{_SELECT}{where} (started_at, id) < (?, ?)"
                    f" ORDER BY started_at DESC, id DESC LIMIT {_PAGE}",
                    (*values, *after),
                )
            )
            for row in map(self._row, rows):
                yield row
                after = (row.started_at, row.id)
            if len(rows) < _PAGE:
                return

    async def find(self, text: str) -> SessionRow:
        """The one session whose id is *text*, or begins or ends with it."""
        wanted = as_typed(text)
        if wanted:
            rows = list(
                await self._reading.execute_fetchall(
                    f"{_SELECT} WHERE id = ?1 OR substr(id, 1, length(?1)) = ?1 OR substr(id, -length(?1)) = ?1"
                    " ORDER BY id = ?1 DESC, started_at DESC LIMIT 6",
                    (wanted,),
                )
            )
            if len(rows) == 1 or (rows and rows[0][0] == wanted):
                found = self._row(rows[0])
                # It may just have been encrypted.
                return replace(found, path=recording_file(self.folder, found.id))
            if rows:
                some = ", ".join(row[0] for row in rows[:5]) + (", …" if len(rows) > 5 else "")
                raise AmbiguousSession(
                    f"{wanted} fits several sessions: {some}.", hint="Type more of the id."
                )
        raise NoSuchSession(
            f"There is no session {text!r}.",
            hint="A session is named by its id, or its first or last characters.",
        )

    async def endings(self) -> dict[SessionId, Known]:
        """What is known of each session that recovery asks about."""
        rows = await self._reading.execute_fetchall(
            "SELECT id, ending, ended_at IS NOT NULL, path FROM sessions"
        )
        return {
            SessionId(row[0]): Known(ending=row[1], is_sealed=bool(row[2]), path=self.folder / row[3])
            for row in rows
        }

    async def put(self, rows: Iterable[SessionRow]) -> None:
        """Enter *rows*, or bring them up to date."""
        async with self._transaction() as database:
            await database.executemany(_UPSERT, [self._values(row) for row in rows])

    async def remove(self, ids: Iterable[SessionId]) -> None:
        """Forget the sessions *ids*, whose recordings were removed."""
        async with self._transaction() as database:
            await database.executemany("DELETE FROM sessions WHERE id = ?", [(id_,) for id_ in ids])

    async def purge(self) -> None:
        """Wipe what was overwritten or removed out of the files of the index, as far as nobody reads it now."""
        async with self._writing:
            await self._database.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")

    async def rebuild(self) -> Broken:
        """Make the rows anew from the files; say which files are no recordings. A server may go on meanwhile."""
        rows, broken = await reading(_read_all, self.folder)
        known = {row.id for row in rows}
        stored = await self._database.execute_fetchall("SELECT id, path FROM sessions")
        gone = [(id_,) for id_, path in stored if id_ not in known and not (self.folder / path).exists()]
        async with self._transaction() as database:
            await database.executemany("DELETE FROM sessions WHERE id = ?", gone)
            await database.executemany(_UPSERT, [self._values(row) for row in rows])
        return broken

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        async with self._writing:
            try:
                yield self._database
                await self._database.commit()
            except BaseException:
                await self._database.rollback()
                raise

    def _values(self, row: SessionRow) -> tuple[Any, ...]:
        return (
            row.id, row.path.relative_to(self.folder).as_posix(), row.user, _json(row.groups), row.target,
            row.kind, row.login, row.action, row.command, row.started_at, row.ended_at, row.ending,
            row.exit_status, row.output_bytes, row.input_bytes, _json(row.facts),
        )  # fmt: skip

    def _row(self, row: sqlite3.Row | tuple[Any, ...]) -> SessionRow:
        values = dict(zip(_COLUMNS, row, strict=True))
        values["id"] = SessionId(values["id"])
        values["path"] = self.folder / values["path"]
        values["groups"] = tuple(msgspec.json.decode(values["groups"]))
        values["facts"] = msgspec.json.decode(values["facts"])
        return SessionRow(**values)


async def rebuild(folder: Path) -> Broken:
    """Rebuild the index of *folder* from its files; say which files are no recordings."""
    index = await Index.open(folder)
    try:
        return await index.rebuild()
    finally:
        await index.close()


def _conditions(narrow: Filter) -> tuple[str, list[Any]]:
    conditions = {
        "user = ?": narrow.user,
        "EXISTS (SELECT 1 FROM json_each(groups) WHERE value = ?)": narrow.group,
        "target = ?": narrow.target,
        "kind = ?": narrow.kind,
        "ending = ?": narrow.ending,
        "exit_status = ?": narrow.exit_status,
        "path LIKE '%.age' = ?": narrow.encrypted,
        "started_at >= ?": narrow.since,
        "started_at < ?": narrow.until,
    }
    chosen = {condition: value for condition, value in conditions.items() if value is not None}
    return " WHERE " + " AND ".join(chosen) if chosen else "", list(chosen.values())


async def _open_both(path: Path) -> tuple[aiosqlite.Connection, aiosqlite.Connection, bool]:
    """The database at *path* to write and to read, and whether it is new."""
    database, is_new = await _open_or_create(path)
    try:
        return database, await _connect(path, "ro"), is_new
    except BaseException as error:
        await database.close()
        if not isinstance(error, sqlite3.Error):
            raise
        raise _unusable(path, error) from error


async def _open_or_create(path: Path) -> tuple[aiosqlite.Connection, bool]:
    """The database at *path*, made anew and empty (then true) where there is none that can be used."""
    try:
        if (database := await _open_usable(path, "rw")) is not None:
            await database.execute_fetchall("PRAGMA secure_delete = ON")  # commands of what is encrypted now
            return database, False
        for leftover in (path, path.with_name(f"{FILE}-wal"), path.with_name(f"{FILE}-shm")):
            leftover.unlink(missing_ok=True)
        path.touch(0o600)
        return await _create(str(path)), True
    except (sqlite3.Error, OSError) as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> RecorderError:
    return RecorderError(
        f"The index of recordings {path} cannot be opened: {error}",
        hint="It can be deleted: it is made anew from the recordings.",
    )


async def _open_usable(path: Path, mode: str) -> aiosqlite.Connection | None:
    """The database at *path* if it is there, whole and of our schema.

    The check reads all of it: it is small, and a wrong row misleads.
    """
    if not path.is_file():
        return None
    try:
        database = await _connect(path, mode)
    except sqlite3.Error:
        return None
    try:
        version = list(await database.execute_fetchall("PRAGMA user_version"))
        check = list(await database.execute_fetchall("PRAGMA quick_check"))
        await database.execute_fetchall(f"{_SELECT} LIMIT 1")
        if version[0][0] == SCHEMA and check[0][0] == "ok":
            return database
    except sqlite3.DatabaseError:
        pass  # not a database, or a broken one
    except BaseException:
        await database.close()
        raise
    await database.close()
    return None


async def _connect(path: Path, mode: str) -> aiosqlite.Connection:
    database = await aiosqlite.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)
    if mode == "rw":
        await _set_up(database)
    return database


async def _set_up(database: aiosqlite.Connection) -> None:
    """Prepare to write; what a power cut takes is made again from the recordings, so nobody waits for a sync."""
    try:
        await database.execute_fetchall("PRAGMA journal_mode = WAL")
        await database.execute_fetchall("PRAGMA synchronous = NORMAL")
    except BaseException:
        await database.close()  # its thread would outlive us
        raise


async def _create(name: str) -> aiosqlite.Connection:
    database = await aiosqlite.connect(name)
    await _set_up(database)
    try:
        await database.executescript(f"BEGIN; {_TABLE} PRAGMA user_version = {SCHEMA}; COMMIT;")
    except BaseException:
        await database.close()
        raise
    return database


def _read_all(folder: Path) -> tuple[Rows, Broken]:
    rows: Rows = []
    broken: Broken = []
    for path in recordings(folder):
        try:
            rows.append(read_row(folder, path))
        except FormatError as error:
            broken.append((path, error))
    return rows, broken


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
