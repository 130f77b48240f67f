"""Keeps what is derived from recordings up with them: takes each that was sealed, one after the other.

A thread of its own does it, beside the event loop, and has a process look through long ones: a thread holds the
interpreter, and each key of each session waits for it. What fails is logged and tried again at the next start. What is
derived each kind of feed knows.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from recorder.catalog import LIVE, SessionRow
from recorder.errors import RecorderError
from recorder.rests import Rests
from recorder.search_lines import Stopped

log = structlog.get_logger()

LONG = 256 * 1024
"""Bytes of a recording that are worth a process."""
_STOP_POLL = 0.1


class Feed:
    """The thread that enters recordings of *folder*; it leaves *min_free_bytes* of the disk to the recordings.

    *name* is that of the thread, and of what it logs.
    """

    def __init__(self, folder: Path, *, name: str, min_free_bytes: int) -> None:
        self._folder = folder
        self._name = name
        self._min_free_bytes = min_free_bytes
        self._rests = Rests()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def add(self, row: SessionRow) -> None:
        """The recording of *row* has been sealed: enter it soon."""
        self._thread.submit(self._attempt, self._enter, row)

    def catch_up(self, rows: Iterable[SessionRow]) -> None:
        """Enter what is missing of *rows*, which are all there are, and forget the others and what must not be kept."""
        self._thread.submit(self._attempt, self._catch_up, [row for row in rows if row.ending != LIVE])

    async def close(self) -> None:
        """End soon: what has not been entered yet is at the next start."""
        self._rests.stop()
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    async def wait(self) -> None:
        """Return when all that was added by now has been entered, or could not be."""
        await asyncio.wrap_future(self._thread.submit(lambda: None))

    def _attempt(self, step: Callable[..., None], *arguments: object) -> None:
        try:
            step(*arguments)
        except Stopped:
            pass
        except (sqlite3.Error, OSError, RecorderError) as error:
            log.error(f"{self._name}.behind", error=str(error))

    def _enter(self, row: SessionRow) -> None:
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < 2 * self._min_free_bytes:
            log.warning(f"{self._name}.behind", session=row.id, error="the disk is nearly full")
            return
        try:
            if row.path.stat().st_size >= LONG:
                self._look_through(row)
            else:
                self._rests.begin()
                self._derive(row)
        except FileNotFoundError:
            return  # removed, or encrypted, before its turn came

    def _look_through(self, row: SessionRow) -> None:
        """Have a process enter a recording (`look_through.py`)."""
        program = [sys.executable, "-P", "-m", "recorder.look_through", self._name]
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as wanted:  # once this is closed, by us or our end, it ends too
            with os.fdopen(reading, "rb") as stdin:
                process = subprocess.Popen(
                    [*program, str(self._folder), row.id, str(row.path)],
                    stdin=stdin, stdout=subprocess.PIPE, start_new_session=True,
                )  # fmt: skip
            while True:
                try:
                    said, _ = process.communicate(timeout=_STOP_POLL)
                    break
                except subprocess.TimeoutExpired:
                    if self._rests.is_stopped():
                        wanted.close()
        for line in said.splitlines():
            told = json.loads(line)
            log.log(logging.getLevelNamesMapping()[told.pop("level").upper()], **told)
        if process.returncode < 0:
            log.warning(
                f"{self._name}.behind", session=row.id, error=f"ended by signal {-process.returncode}"
            )

    def _derive(self, row: SessionRow) -> None:
        """In the thread: enter a recording, unless `_rests` says to stop."""
        raise NotImplementedError

    def _catch_up(self, rows: list[SessionRow]) -> None:
        """In the thread: what `catch_up` promises."""
        raise NotImplementedError
