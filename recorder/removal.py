"""Removes recordings on purpose, so that nothing is ever half gone without a trace.

First the chain of seals says so, on the disk; then the files go, then what the indexes know (`forget_text_of` in
`search_feed`). Whatever dies in between, `unfinished` tells the next run what is left to do. Who may remove what, and
why, is decided elsewhere.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from recorder.catalog import is_live
from recorder.folder import files_of, leavings_of, open_private, plain_file, sync_folder
from recorder.keys import SigningKey
from recorder.names import SessionId, place
from recorder.retention import Removal
from recorder.seals import Removed, Sealed, SealLog
from recorder.seals_check import ChainReading

LOCK = "removal.lock"


@contextmanager
def only_remover(folder: Path) -> Iterator[bool]:
    """Hold the one right to remove from *folder*; false when another process has it."""
    descriptor = open_private(folder / LOCK, os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def announce(
    folder: Path, removal: Removal, sealed: Sealed, *, by: str, key: SigningKey, now: float
) -> Removed | None:
    """Step 1: enter the removal in the chain of seals, where *sealed* is the recording's entry.

    None when the recording is gone, or when somebody holds its file as one that is being written.
    """
    files = files_of(folder, removal.row.id)
    if not files or any(is_live(file) for file in files):
        return None
    row = removal.row
    return SealLog(folder, is_durable=True).remove(
        row.id,
        by=by,
        reason=removal.reason,
        rule=removal.rule,
        user=row.user,
        target=row.target,
        started_at=row.started_at,
        size=removal.size,
        chain=sealed.chain,
        key=key,
        now=now,
    )


def delete_files(folder: Path, session_id: SessionId) -> None:
    """Step 2: delete the files of a recording whose removal has been entered, and folders that are empty then."""
    with _at_rest(plain_file(folder, session_id)):
        for file in leavings_of(folder, session_id):
            file.unlink(missing_ok=True)
    day = (folder / place(session_id)).parent
    if day.is_dir():
        sync_folder(day)
    for empty in (day, day.parent, day.parent.parent):
        try:
            empty.rmdir()  # a session that begins meanwhile makes it anew
        except OSError:  # it is not empty, or gone
            break


def removed(chain: ChainReading) -> list[Removed]:
    """What was removed on purpose, as the chain of seals says, newest first."""
    found = [entry for entry in chain.entries.values() if isinstance(entry, Removed)]
    return sorted(found, key=lambda entry: entry.number, reverse=True)


def unfinished(folder: Path, entries: Iterable[Removed]) -> list[Removed]:
    """Those of *entries* whose files are still there: their removal was cut short."""
    return [entry for entry in entries if leavings_of(folder, SessionId(entry.id))]


@contextmanager
def _at_rest(file: Path) -> Iterator[None]:
    """Wait until nobody is about to put an encrypted file in the place of *file*, which he holds meanwhile."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # then nobody is
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
