"""Keeps the text of recordings up with the recordings: enters each that was sealed, one after the other.

With bounded memory. A search may miss something for a while, and no session notices.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import structlog

from recorder import search_index
from recorder.at_rest import Identity
from recorder.catalog import SessionRow, is_to_be_encrypted
from recorder.errors import FormatError, NoIdentityFits
from recorder.feed import Feed
from recorder.names import SessionId, is_encrypted
from recorder.search_lines import text_lines

log = structlog.get_logger()


class SearchFeed(Feed):
    """Enters the text of recordings.

    Of encrypted recordings nothing is kept, unless *keeps_encrypted*: then what was entered while they were plain.
    """

    def __init__(self, folder: Path, *, min_free_bytes: int, keeps_encrypted: bool = False) -> None:
        super().__init__(folder, name="search", min_free_bytes=min_free_bytes)
        self._keeps_encrypted = keeps_encrypted
        self._urgent: deque[tuple[SessionRow, Future[None]]] = deque()

    async def enter_now(self, row: SessionRow) -> None:
        """Enter the text of a recording before others that wait, and return when that is done, or could not be."""
        done: Future[None] = Future()
        self._urgent.append((row, done))
        self._thread.submit(self._enter_urgent)
        await asyncio.wrap_future(done)

    def _derive(self, row: SessionRow) -> None:
        enter_recording(self._folder, row.id, row.path, self._rests)

    def _catch_up(self, rows: list[SessionRow]) -> None:
        with (
            search_index.only_writer(self._folder, self._rests.is_stopped),
            closing(search_index.open_writing(self._folder)) as database,
        ):
            known = search_index.known(database)
            for session_id in known - {row.id for row in rows}:
                search_index.remove(database, session_id)
        if not self._keeps_encrypted:
            forget_text_of(self._folder, {row.id for row in rows if is_encrypted(row.path)})
        for row in rows:
            self._enter_urgent()
            if row.id not in known and row.path.exists() and self._may_keep(row):
                self._enter(row)

    def _may_keep(self, row: SessionRow) -> bool:
        """Whether the text of a recording can be entered, and may be."""
        return not is_encrypted(row.path) and (self._keeps_encrypted or not is_to_be_encrypted(row.path))

    def _enter_urgent(self) -> None:
        while self._urgent:
            row, done = self._urgent.popleft()
            if done.set_running_or_notify_cancel():
                self._attempt(self._enter, row)
                done.set_result(None)


def enter_recording(
    folder: Path,
    session_id: SessionId,
    path: Path,
    is_stopped: Callable[[], bool] = lambda: False,
    identities: Sequence[Identity] = (),
) -> None:
    """Enter the text of the recording at *path*; raises Stopped when *is_stopped* says so."""
    with search_index.only_writer(folder, is_stopped), closing(search_index.open_writing(folder)) as database:
        try:
            search_index.enter(database, session_id, text_lines(path, is_stopped, identities))
        except FormatError as error:
            log.warning("search.damaged-recording", session=session_id, error=str(error))


def rebuild_text(
    folder: Path,
    rows: Iterable[SessionRow],
    *,
    keeps_encrypted: bool = False,
    identities: Sequence[Identity] = (),
) -> Iterator[SessionRow]:
    """Make the text index of *folder* anew from the recordings of *rows*; yields each that has been entered.

    What it knows of encrypted ones, with *keeps_encrypted*, stays where none of *identities* fits.
    """
    rows = list(rows)
    kept = {row.id for row in rows if is_encrypted(row.path)} if keeps_encrypted else set()
    with search_index.only_writer(folder):
        if kept:
            with closing(search_index.open_writing(folder)) as database:
                for session_id in search_index.known(database) - kept:
                    search_index.remove(database, session_id)
        else:
            search_index.forget_all(folder)
    for row in rows:
        if is_encrypted(row.path) and (row.id not in kept or not identities):
            continue
        if not keeps_encrypted and is_to_be_encrypted(row.path):
            continue
        try:
            enter_recording(folder, row.id, row.path, identities=identities)
        except NoIdentityFits:
            continue
        yield row


def forget_text(folder: Path) -> None:
    """Delete the text index of *folder*: no text of sessions is to be kept but in the recordings."""
    with search_index.only_writer(folder):
        search_index.forget_all(folder)


def forget_text_of(folder: Path, ids: Collection[SessionId]) -> None:
    """Take the text of some sessions out of what is kept beside the recordings, and off the disk.

    The one place for that: whatever else is derived from what a session showed is to be forgotten here too.
    """
    if not search_index.holds(folder, ids):
        return
    with search_index.only_writer(folder), closing(search_index.open_writing(folder)) as database:
        for session_id in ids:
            search_index.remove(database, session_id)
        search_index.purge(database)
