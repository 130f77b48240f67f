"""Keeps the text of recordings up with the recordings: enters each that was sealed, one after the other.

A thread of its own does it, beside the event loop and with bounded memory. What fails is logged and tried again at the
next start: a search may miss something for a while, and no session notices.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import structlog

from recorder import search_index
from recorder.catalog import LIVE, SessionRow
from recorder.errors import FormatError, RecorderError
from recorder.names import SessionId
from recorder.search_lines import Stopped, text_lines

log = structlog.get_logger()

REST_EVERY = 0.005
"""Seconds of work after which the thread rests."""
REST_FACTOR = 4
"""How many times as long as it worked it rests."""


class SearchFeed:
    """The thread that enters recordings of *folder*; it leaves *min_free_bytes* of the disk to the recordings."""

    def __init__(self, folder: Path, *, min_free_bytes: int) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._stopping = threading.Event()
        self._rested_at = time.monotonic()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="search")

    def add(self, row: SessionRow) -> None:
        """The recording of *row* has been sealed: enter its text soon."""
        self._thread.submit(self._attempt, self._enter, row)

    def catch_up(self, rows: Iterable[SessionRow]) -> None:
        """Enter what is missing of *rows*, which are all there are, and forget the others."""
        self._thread.submit(self._attempt, self._catch_up, [row for row in rows if row.ending != LIVE])

    async def close(self) -> None:
        """End soon: what has not been entered yet is at the next start."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    async def wait(self) -> None:
        """Return when all that was added by now has been entered."""
        await asyncio.wrap_future(self._thread.submit(lambda: None))

    def _attempt(self, step: Callable[..., None], argument: object) -> None:
        try:
            step(argument)
        except Stopped:
            pass
        except (sqlite3.Error, OSError, RecorderError) as error:
            log.error("search.behind", error=str(error))

    def _enter(self, row: SessionRow) -> None:
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < 2 * self._min_free_bytes:
            log.warning("search.behind", session=row.id, error="the disk is nearly full")
            return
        self._rested_at = time.monotonic()
        enter_recording(self._folder, row.id, row.path, self._rest)

    def _rest(self) -> bool:
        """Let the sessions have the interpreter for most of the time; whether to stop for good.

        Lines are made in Python, and each key of each session waits for whoever holds the interpreter.
        """
        worked = time.monotonic() - self._rested_at
        if worked >= REST_EVERY:
            self._stopping.wait(worked * REST_FACTOR)
            self._rested_at = time.monotonic()
        return self._stopping.is_set()

    def _catch_up(self, rows: list[SessionRow]) -> None:
        with (
            search_index.only_writer(self._folder, self._stopping.is_set),
            closing(search_index.open_writing(self._folder)) as database,
        ):
            known = search_index.known(database)
            for session_id in known - {row.id for row in rows}:
                search_index.remove(database, session_id)
        for row in rows:
            if row.id not in known and row.path.exists():
                self._enter(row)


def enter_recording(
    folder: Path, session_id: SessionId, path: Path, is_stopped: Callable[[], bool] = lambda: False
) -> None:
    """Enter the text of the recording at *path*; raises Stopped when *is_stopped* says so."""
    with search_index.only_writer(folder, is_stopped), closing(search_index.open_writing(folder)) as database:
        try:
            search_index.enter(database, session_id, text_lines(path, is_stopped))
        except FormatError as error:
            log.warning("search.damaged-recording", session=session_id, error=str(error))


def rebuild_text(folder: Path, rows: Iterable[SessionRow]) -> Iterator[SessionRow]:
    """Make the text index of *folder* anew from the recordings of *rows*; yields each once it has been entered."""
    with search_index.only_writer(folder):
        search_index.forget_all(folder)
    for row in rows:
        enter_recording(folder, row.id, row.path)
        yield row


def forget_text(folder: Path) -> None:
    """Delete the text index of *folder*: no text of sessions is to be kept but in the recordings."""
    with search_index.only_writer(folder):
        search_index.forget_all(folder)
