"""Files of SQLite that are derived from recordings: opened, or made anew and empty where they cannot be used."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from recorder.errors import RecorderError


def open_or_remake(
    path: Path, prepare: Callable[[Path], sqlite3.Connection], *, name: str
) -> sqlite3.Connection:
    """What *prepare* makes of the file at *path*, of which the caller is the only writer. *name* is for people.

    Raises RecorderError where that cannot be used, and not be made anew.
    """
    try:
        try:
            return prepare(path)
        except sqlite3.OperationalError:  # locked, full: it is not the file's fault
            raise
        except sqlite3.DatabaseError:
            delete(path)
            return prepare(path)
    except sqlite3.Error as error:
        raise RecorderError(
            f"The {name} {path} cannot be used: {error}",
            hint="It can be deleted: bastion index rebuild makes it anew from the recordings.",
        ) from error


def delete(path: Path) -> None:
    """Delete the file and its journals; the caller is its only writer."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
