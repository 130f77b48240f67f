"""Keeps the key points of long recordings in SQLite: derived, and found again when they are lost.

They hold no text of sessions. Blocking: for threads. What does not fit the recording it is asked for is as if it were
not there.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from recorder.catalog import last_line
from recorder.derived import open_or_remake
from recorder.errors import FormatError
from recorder.folder import open_private
from recorder.label import label_beside, last_line_in, read_label
from recorder.lines import LINE_LIMIT
from recorder.names import SessionId, is_encrypted
from recorder.seek_points import KeyPoint, KeyPoints, Note
from recorder.seek_scan import Scan

FILE = "seek.db"
SCHEMA = 1  # changes with what a key point holds, or how they are found
WORTH_KEEPING = 4 << 20
"""Bytes of a recording below which the points are found anew each time: that is soon done."""
_BUSY_SECONDS = 5.0

_TABLE = "CREATE TABLE points (id TEXT PRIMARY KEY, print BLOB NOT NULL, found BLOB NOT NULL) WITHOUT ROWID;"


class _Found(msgspec.Struct, array_like=True):
    columns: int
    rows: int
    has_output: bool
    happened: dict[str, int]
    points: list[KeyPoint]
    notes: list[Note]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a recording: its largest size, what a Scan counts, key points and notes."""

    columns: int
    rows: int
    has_output: bool
    happened: Mapping[str, int]
    points: KeyPoints


def open_writing(folder: Path) -> sqlite3.Connection:
    """The index of *folder*, for its `only_writer`; made anew and empty where there is none that can be used."""
    return open_or_remake(folder / FILE, _prepare, name="index of key points")


def known(database: sqlite3.Connection) -> set[SessionId]:
    """The recordings whose key points are kept."""
    return {SessionId(row[0]) for row in database.execute("SELECT id FROM points")}


def remove(database: sqlite3.Connection, session_id: SessionId) -> None:
    """Forget the key points of a recording."""
    with database:
        database.execute("DELETE FROM points WHERE id = ?", (session_id,))


def keep(database: sqlite3.Connection, session_id: SessionId, print_: bytes, scan: Scan) -> None:
    """Keep what *scan* found in the recording that *print_* is of."""
    found = _Found(
        scan.columns, scan.rows, scan.has_output, dict(scan.happened), scan.points.points, scan.points.notes
    )
    with database:
        database.execute(
            "INSERT OR REPLACE INTO points (id, print, found) VALUES (?, ?, ?)",
            (session_id, print_, msgspec.msgpack.encode(found)),
        )


def read_kept(folder: Path, session_id: SessionId, path: Path) -> Kept | None:
    """What the index of *folder* has of the recording at *path*, if that is the one it was found in."""
    index = folder / FILE
    if not index.is_file():
        return None
    try:
        uri = f"{index.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as database:
            if database.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
                return None
            row = database.execute("SELECT print, found FROM points WHERE id = ?", (session_id,)).fetchone()
        if row is None or not row[0].startswith(print_of(path)):
            return None
        found = msgspec.msgpack.decode(row[1], type=_Found)
    except (sqlite3.Error, OSError, FormatError, msgspec.DecodeError):  # it is only about time
        return None
    points = KeyPoints(found.points, found.notes)
    return Kept(found.columns, found.rows, found.has_output, found.happened, points)


def print_of(path: Path) -> bytes:
    """What tells the recording at *path* from others: its seal, which has the end of its chain, its header and size.

    Of an encrypted one only the seal is known, from its label. OSError as `open` does; FormatError without a label.
    """
    if is_encrypted(path):
        return hashlib.sha256(last_line_in(read_label(label_beside(path)).label).raw).digest()
    with path.open("rb") as file:
        header = hashlib.sha256(file.readline(LINE_LIMIT + 1)).digest()
        seal = hashlib.sha256(last_line(file.fileno())).digest()
        return seal + header + b"%d" % os.fstat(file.fileno()).st_size


def _prepare(path: Path) -> sqlite3.Connection:
    os.close(open_private(path, os.O_CREAT | os.O_WRONLY))
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS)
    try:
        if database.execute("PRAGMA user_version").fetchone()[0] != SCHEMA:
            database.executescript(
                f"BEGIN IMMEDIATE; DROP TABLE IF EXISTS points; {_TABLE} PRAGMA user_version = {SCHEMA}; COMMIT;"
            )
        database.execute("SELECT count(*) FROM points").fetchone()
    except BaseException:
        database.close()
        raise
    return database
