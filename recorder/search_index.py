"""The text of recordings in SQLite, so that any piece of it is found: derived, and made anew when it is lost.

Lines are kept in blocks. A full text index of the trigrams of each block says which blocks can hold a text; looking
into those says which do. Blocking: for threads, each with a connection of its own. Knows nothing of who may see what.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sqlite3
import time
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from recorder.derived import delete, open_or_remake
from recorder.errors import FormatError, RecorderError
from recorder.folder import open_private
from recorder.names import SessionId
from recorder.search_lines import PARTS, Part, Stopped, TextLine

FILE = "search.db"
LOCK = "search.lock"
SCHEMA = 3  # changes with the tables, or with what counts as a line: all is made anew

BLOCK_LINES = 64
BLOCK_CHARACTERS = 4096
BLOCKS_AT_ONCE = 256
"""Blocks in one transaction: so much is held in memory, and others wait so long."""
BUSY_SECONDS = 30.0
_LOCK_POLL = 0.05

_TABLES = """
CREATE TABLE sessions (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, is_whole INTEGER NOT NULL);
CREATE TABLE blocks (place INTEGER PRIMARY KEY, text TEXT NOT NULL, times BLOB NOT NULL);
CREATE VIRTUAL TABLE trigrams USING fts5 (text, content='', columnsize=0, detail=none, tokenize='trigram');
"""
_REBUILD = "Make it with: bastion index rebuild (a server with search = true in [recording] keeps it up)."
_TRIGRAM = 3
_MOST_TRIGRAMS = 32
# A block's place is the number of its session, that of its part, and its own there: so one range is one session.
_SESSION_BITS = 24
_PART_BITS = 21


@dataclass(frozen=True, slots=True)
class Hit:
    """A line that holds what was searched: when, in seconds since the start; its text; and where in it, from to."""

    time: float
    part: Part
    text: str
    start: int
    end: int


def open_writing(folder: Path) -> sqlite3.Connection:
    """The index of *folder*, for its `only_writer`; made anew and empty where there is none that can be used."""
    return open_or_remake(folder / FILE, _prepare, name="search index")


def forget_all(folder: Path) -> None:
    """Delete the index of *folder*; the caller is its only writer."""
    delete(folder / FILE)


def open_reading(folder: Path) -> sqlite3.Connection:
    """The index of *folder* to search in, for one thread at a time; RecorderError says how to get one."""
    path = folder / FILE
    if not path.is_file():
        raise RecorderError("There is no index of the text of these recordings.", hint=_REBUILD)
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
    )
    try:
        if database.execute("PRAGMA user_version").fetchone()[0] == SCHEMA:
            return database
    except sqlite3.DatabaseError as error:
        database.close()
        raise RecorderError(f"The search index {path} is damaged: {error}", hint=_REBUILD) from error
    database.close()
    raise RecorderError(f"The search index {path} is of another version.", hint=_REBUILD)


def known(database: sqlite3.Connection) -> set[SessionId]:
    """The recordings that have been entered as a whole."""
    return {SessionId(row[0]) for row in database.execute("SELECT id FROM sessions WHERE is_whole")}


def holds(folder: Path, ids: Collection[SessionId]) -> bool:
    """Whether anything of one of *ids* has been entered, or begun to be."""
    if not ids or not (folder / FILE).exists():
        return False
    try:
        with closing(open_reading(folder)) as database:
            asked = "SELECT 1 FROM sessions WHERE id IN (SELECT value FROM json_each(?)) LIMIT 1"
            return database.execute(asked, (json.dumps(list(ids)),)).fetchone() is not None
    except RecorderError:  # damaged, or of another version: who writes it makes it anew
        return True


def purge(database: sqlite3.Connection) -> None:
    """Wipe what was removed out of the file and its journal, whatever that takes."""
    # A deleted row of a full text index stays in its tables until they are merged.
    database.execute("INSERT INTO trigrams (trigrams) VALUES ('optimize')")
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def remove(database: sqlite3.Connection, session_id: SessionId) -> None:
    """Forget the text of a recording."""
    with database:
        database.execute("BEGIN IMMEDIATE")
        row = database.execute("SELECT number FROM sessions WHERE id = ?", (session_id,)).fetchone()
        if row is None:
            return
        places = (row[0] << _SESSION_BITS, (row[0] + 1) << _SESSION_BITS)
        # An index without content of its own must be told the text to forget.
        database.execute(
            "INSERT INTO trigrams (trigrams, rowid, text)"
            " SELECT 'delete', place, text FROM blocks WHERE place >= ? AND place < ?",
            places,
        )
        database.execute("DELETE FROM blocks WHERE place >= ? AND place < ?", places)
        database.execute("DELETE FROM sessions WHERE number = ?", row)


def enter(database: sqlite3.Connection, session_id: SessionId, lines: Iterable[TextLine]) -> None:
    """Enter the *lines* of a recording, in place of what there was of it.

    When *lines* raises FormatError, what came before it stays as the whole: there is no more to be had. After any
    other error the recording counts as not entered.
    """
    remove(database, session_id)
    with database:
        number = database.execute(
            "INSERT INTO sessions (id, is_whole) VALUES (?, 0)", (session_id,)
        ).lastrowid
    assert number is not None
    parts = {part: _Blocks(number << _SESSION_BITS | code << _PART_BITS) for code, part in enumerate(PARTS)}
    try:
        for line in lines:
            blocks = parts[line.part]
            blocks.add(line)
            if len(blocks.full) >= BLOCKS_AT_ONCE:
                blocks.write(database)
    except FormatError:
        _finish(database, number, parts.values())
        raise
    _finish(database, number, parts.values())


class TextSearch:
    """One search for *text*, without regard to case, in an index that is open to read. Belongs to one connection."""

    def __init__(self, database: sqlite3.Connection, text: str, part: Part | None) -> None:
        self._database = database
        self._wanted = re.compile(re.escape(text), re.IGNORECASE)
        self._lowered = (
            text.lower() if text.isascii() else ""
        )  # an expression that ignores case is slow to say no
        of_part = f"place >> {_PART_BITS} & {(1 << _SESSION_BITS - _PART_BITS) - 1}"
        self._condition = "1" if part is None else f"{of_part} = {PARTS.index(part)}"
        self._places = "blocks"
        if grams := _some_trigrams(text):  # a shorter text can be in every block
            self._places = "temp.places"
            quoted = " AND ".join('"' + gram.replace('"', '""') + '"' for gram in grams)
            database.execute("CREATE TEMP TABLE places (place INTEGER PRIMARY KEY)")
            database.execute(
                "INSERT INTO places SELECT rowid FROM trigrams WHERE trigrams MATCH ?", (quoted,)
            )

    def candidates(self) -> list[SessionId]:
        """The recordings that may hold the text: all that do are among them."""
        rows = self._database.execute(
            f"SELECT id FROM sessions WHERE number IN"  # noqa: S608 (constants)
            f" (SELECT DISTINCT place >> {_SESSION_BITS} FROM {self._places} WHERE {self._condition})"
        )
        return [SessionId(row[0]) for row in rows]

    def hits(self, session_id: SessionId) -> Iterator[Hit]:
        """The lines of a recording that hold the text, one part of it after the other."""
        row = self._database.execute("SELECT number FROM sessions WHERE id = ?", (session_id,)).fetchone()
        if row is None:
            return
        blocks = "blocks" if self._places == "blocks" else f"{self._places} JOIN blocks USING (place)"
        rows = self._database.execute(
            f"SELECT place, text, times FROM {blocks}"  # noqa: S608 (constants)
            f" WHERE place >= ? AND place < ? AND {self._condition} ORDER BY place",
            (row[0] << _SESSION_BITS, (row[0] + 1) << _SESSION_BITS),
        )
        for place, block, times in rows:
            if self._lowered in block.lower():
                yield from self._in_block(place, block, array("I", times))

    def _in_block(self, place: int, block: str, times: array[int]) -> Iterator[Hit]:
        part = PARTS[place >> _PART_BITS & (1 << _SESSION_BITS - _PART_BITS) - 1]
        for moment, line in zip(times, block.split("\n"), strict=True):
            if (found := self._wanted.search(line)) is not None:
                yield Hit(moment / 1000, part, line, found.start(), found.end())


@contextmanager
def only_writer(folder: Path, is_stopped: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold the one right to enter recordings of *folder*; waits while another process has it, or raises Stopped."""
    descriptor = open_private(folder / LOCK, os.O_CREAT | os.O_RDWR)
    try:
        while not _locked(
            descriptor
        ):  # a command may make the whole index anew, and a server must be able to stop
            if is_stopped():
                raise Stopped
            time.sleep(_LOCK_POLL)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _some_trigrams(text: str) -> list[str]:
    grams = list(dict.fromkeys(text[at : at + _TRIGRAM] for at in range(len(text) - _TRIGRAM + 1)))
    return grams[:: -(-len(grams) // _MOST_TRIGRAMS)] if grams else []


def _finish(database: sqlite3.Connection, number: int, parts: Iterable[_Blocks]) -> None:
    for part in parts:
        part.cut()
        part.write(database)
    with database:
        database.execute("UPDATE sessions SET is_whole = 1 WHERE number = ?", (number,))


class _Blocks:
    """Lines of one part of a session, gathered into blocks."""

    def __init__(self, place: int) -> None:
        self.full: list[tuple[int, str, bytes]] = []
        self._place = place
        self._lines: list[str] = []
        self._times = array("I")
        self._characters = 0

    def add(self, line: TextLine) -> None:
        self._lines.append(line.text)
        self._times.append(min(int(line.time * 1000), 0xFFFF_FFFF))
        self._characters += len(line.text)
        if len(self._lines) >= BLOCK_LINES or self._characters >= BLOCK_CHARACTERS:
            self.cut()

    def cut(self) -> None:
        if self._lines:
            self.full.append((self._place, "\n".join(self._lines), self._times.tobytes()))
            self._place += 1
            self._lines, self._times, self._characters = [], array("I"), 0

    def write(self, database: sqlite3.Connection) -> None:
        with database:
            database.executemany("INSERT INTO blocks (place, text, times) VALUES (?, ?, ?)", self.full)
            database.executemany(
                "INSERT INTO trigrams (rowid, text) VALUES (?, ?)", [block[:2] for block in self.full]
            )
        self.full.clear()


def _prepare(path: Path) -> sqlite3.Connection:
    os.close(open_private(path, os.O_CREAT | os.O_WRONLY))
    database = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
        database.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a power cut may lose the last entries: they are made again
        if database.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            dropped = "".join(
                f"DROP TABLE IF EXISTS {name};"
                for (name,) in names
                if name in ("sessions", "blocks", "trigrams")
            )
            database.executescript(
                f"BEGIN IMMEDIATE; {dropped} {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;"
            )
    except BaseException:
        database.close()
        raise
    return database
