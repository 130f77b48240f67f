"""The thread that writes: bytes of all recordings, to their files, in the order they came.

The event loop waits for no disk, but half a millisecond a turn for one that is quick. What is pending is
written in one round; with durability "disk" the round ends with an fdatasync of each file touched, all at the
same time: what a file system is asked for together it commits together, so that many sessions share the wait.
Then the callers hear of it. A file that failed once takes nothing more. Knows nothing of the format.
"""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from recorder.disk import writing

Durability = Literal["kernel", "disk"]

SMALL = 4096
"""Bytes that are written in no time, where the disk does not stall."""
SYNCS = 32
"""So many files are synced at once."""
PATIENCE = 0.0005
"""Seconds that the event loop waits for them at most."""


@dataclass(slots=True, eq=False)
class OpenFile:
    """A file that only the thread writes; *failure* is its first error, after which it takes nothing."""

    descriptor: int
    failure: OSError | None = None


def _taken() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class _Job:
    """Bytes for a file, the last of which closes it."""

    file: OpenFile
    data: bytes
    is_last: bool
    done: asyncio.Future[None]
    failure: OSError | None = None


@dataclass(slots=True, eq=False)
class _Batch:
    """*written* is released when all are, where somebody waits for that; else the event loop tells who does."""

    jobs: Sequence[_Job]
    written: threading.Lock | None = None
    wants_telling: bool = True


class Writer:
    """Owns the thread; made inside the event loop it answers to. *write* and *sync* are the system's, but in tests.

    The last *reserve* bytes of the disk are left to the last write of each file: what filled it can still be closed.
    """

    def __init__(
        self,
        durability: Durability,
        *,
        reserve: int = 0,
        write: Callable[[int, memoryview], int] = os.write,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self._durability = durability
        self._reserve = reserve
        self._write = write
        self._sync = sync
        self._is_quick = durability == "kernel"
        self._written = _taken()
        self._has_waited = False
        self._gathered: list[_Job] = []
        self._loop = asyncio.get_running_loop()
        self._syncing = ThreadPoolExecutor(SYNCS, thread_name_prefix="recorder-sync")
        self._jobs: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def submit(self, file: OpenFile, data: bytes, *, is_last: bool = False) -> asyncio.Future[None]:
        """Queue *data*; the future ends when it is as durable as promised, or with an OSError; the last closes."""
        job = _Job(file, data, is_last, self._loop.create_future())
        if not self._is_quick or is_last or len(data) > SMALL:
            self._hand_over(job)
        elif self._has_waited:
            self._gathered.append(job)
        else:
            self._write_now([job])
        return job.done

    def _hand_over(self, *jobs: _Job) -> None:
        """Have *jobs* written in their turn, behind what is gathered."""
        gathered, self._gathered = self._gathered, []
        self._jobs.put(_Batch([*gathered, *jobs]))

    def _write_now(self, jobs: Sequence[_Job]) -> None:
        """Wait for writes that are over in microseconds: to be told of them by the event loop would take far longer.

        Once in a turn of the loop: what other sessions have in it goes together, in the next. A disk that takes its
        time is not waited for again before it has been quick.
        """
        self._has_waited = True
        self._loop.call_soon(self._begin_turn)
        batch = _Batch(jobs, self._written, wants_telling=False)
        self._jobs.put(batch)
        if self._written.acquire(timeout=PATIENCE):
            _tell(jobs)
            return
        late, self._written = self._written, _taken()  # it will be released, and nobody waits for it
        self._is_quick = False
        batch.wants_telling = True  # from here on either the thread sees this, or we see that it has written
        if late.acquire(blocking=False):
            _tell(jobs)

    def _begin_turn(self) -> None:
        self._has_waited = False
        if self._gathered and self._is_quick:
            gathered, self._gathered = self._gathered, []
            self._write_now(gathered)
        elif self._gathered:
            self._hand_over()

    async def close(self) -> None:
        """Write what is pending and end the thread."""
        self._hand_over()
        self._jobs.put(None)
        await writing(self._thread.join)
        self._syncing.shutdown()

    def _run(self) -> None:
        is_open = True
        while is_open:
            pending = [self._jobs.get()]
            while not self._jobs.empty():
                pending.append(self._jobs.get())
            batches = [batch for batch in pending if batch is not None]
            is_open = len(batches) == len(pending)
            jobs = [job for batch in batches for job in batch.jobs]
            began = time.monotonic()
            for job in jobs:
                job.failure = job.file.failure
                if job.failure is None:
                    self._attempt(self._write_out, [job])
            if self._durability == "disk":
                self._sync_all(jobs)
            else:
                self._is_quick = time.monotonic() - began < PATIENCE
            self._end(batches)

    def _write_out(self, job: _Job) -> None:
        descriptor, rest = job.file.descriptor, memoryview(job.data)
        if not job.is_last and _free_bytes(descriptor) < len(rest) + self._reserve:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        while rest:  # a write may take less than it was given
            rest = rest[self._write(descriptor, rest) :]

    def _sync_all(self, jobs: Sequence[_Job]) -> None:
        touched: dict[int, list[_Job]] = {}
        for job in jobs:
            if job.failure is None:
                touched.setdefault(job.file.descriptor, []).append(job)
        if len(touched) == 1:  # as mostly; another thread would only cost
            self._attempt(self._sync_file, *touched.values())
        else:
            attempts = [
                self._syncing.submit(self._attempt, self._sync_file, written) for written in touched.values()
            ]
            for attempt in attempts:
                attempt.result()

    def _sync_file(self, job: _Job) -> None:
        self._sync(job.file.descriptor)

    def _end(self, batches: Sequence[_Batch]) -> None:
        """Close files whose last job this was, and let everybody know."""
        for batch in batches:
            for job in batch.jobs:
                if job.is_last:
                    self._attempt(_close, [job])
            if batch.written is not None:
                batch.written.release()
        untold = [job for batch in batches if batch.wants_telling for job in batch.jobs]
        if untold and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_tell, untold)

    @staticmethod
    def _attempt(step: Callable[[_Job], None], jobs: Sequence[_Job]) -> None:
        """Take *step* for *jobs*, which are of one file: it fails for all of them, and for all that come after."""
        try:
            step(jobs[0])
        except OSError as error:
            for job in jobs:
                job.failure = job.failure or error
                job.file.failure = job.file.failure or error


def _close(job: _Job) -> None:
    os.close(job.file.descriptor)


def _free_bytes(descriptor: int) -> int:
    disk = os.fstatvfs(descriptor)
    return disk.f_bavail * disk.f_frsize


def _tell(jobs: Sequence[_Job]) -> None:
    """In the event loop: end the futures of those who still wait."""
    for job in jobs:
        if job.done.done():
            continue
        if job.failure is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(job.failure)
