"""Encrypts recordings that have been sealed and are not to stay plain: one after the other, beside the sessions.

What cannot be encrypted now, because the disk is full or fails, stays plain, is logged, and is tried again. Where the
text of encrypted recordings is to be found by searches, it is entered before it cannot be read any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sqlite3
from collections.abc import Awaitable, Callable, Iterable

import structlog

from recorder.catalog import LIVE, SessionRow, is_to_be_encrypted
from recorder.disk import reading, writing
from recorder.encryption import Encryptor
from recorder.errors import FormatError, RecorderError
from recorder.names import SessionId, is_encrypted
from recorder.rests import Rests
from recorder.search_feed import SearchFeed, forget_text_of
from recorder.search_lines import Stopped

log = structlog.get_logger()

RETRY = 60.0
"""Seconds after which what failed is tried again."""
CLOSING = 5.0
"""Seconds that are left at the end for what still waits; the rest is encrypted at the next start."""
_PIECE = 256


class EncryptionFeed:
    """Made inside the event loop, whose task it is. *encryptor* gives the present one: keys are rotated.

    *enter* keeps the index of sessions up; *search* is given if the text of what is encrypted is to be kept there.
    """

    def __init__(
        self,
        *,
        encryptor: Callable[[], Encryptor],
        enter: Callable[[SessionRow], Awaitable[None]],
        search: SearchFeed | None,
        now: Callable[[], float],
        retry: float = RETRY,
    ) -> None:
        self._encryptor = encryptor
        self._enter = enter
        self._search = search
        self._now = now
        self._retry = retry
        self._waiting: dict[SessionId, SessionRow] = {}
        self._told: dict[SessionId, str] = {}  # why they still wait
        self._not_before: dict[SessionId, float] = {}  # when those are tried again for which it may be costly
        self._searchable: set[SessionId] = set()  # those whose text has been entered, or cannot be
        self._rests = Rests()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopped = asyncio.Event()
        self._is_closing = False
        self._looking: asyncio.Task[None] | None = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name="encryption")

    @property
    def waiting(self) -> tuple[SessionId, ...]:
        """The recordings that are sealed, and plain still."""
        return tuple(self._waiting)

    def add(self, row: SessionRow) -> None:
        """The recording of *row* has been sealed: encrypt it soon."""
        self._waiting[row.id] = row
        self._idle.clear()
        self._news.set()

    def catch_up(self, rows: Iterable[SessionRow]) -> None:
        """Find among *rows* what an earlier server left to be encrypted. There may be very many that are plain."""
        plain = [row for row in rows if row.ending != LIVE and not is_encrypted(row.path)]
        self._looking = asyncio.get_running_loop().create_task(self._find_left(plain), name="left plain")

    async def _find_left(self, plain: list[SessionRow]) -> None:
        for at in range(0, len(plain), _PIECE):
            rows = plain[at : at + _PIECE]
            marks = await reading(lambda rows: [is_to_be_encrypted(row.path) for row in rows], rows)
            for row, is_left in zip(rows, marks, strict=True):
                if is_left:
                    self.add(row)

    async def wait(self) -> None:
        """Return when each recording that waits has been encrypted, or tried."""
        if self._looking is not None:
            await self._looking
        await self._idle.wait()

    async def close(self) -> None:
        """End soon: first what can be encrypted in a few seconds, without a rest."""
        self._is_closing = True
        if self._looking is not None:
            self._looking.cancel()
        self._rests.hurry()
        self._news.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._task), CLOSING)
        self._rests.stop()
        self._stopped.set()
        await self._task
        if self._waiting:
            log.warning(
                "recordings.not-encrypted", recordings=len(self._waiting), next_try="at the next start"
            )

    async def _run(self) -> None:
        while True:
            self._news.clear()
            for row in list(self._waiting.values()):
                if asyncio.get_running_loop().time() >= self._not_before.get(row.id, 0.0):
                    await self._try(row)
                if self._rests.is_stopped():
                    return
            if not self._news.is_set():
                if self._is_closing:
                    return
                self._idle.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._retry if self._waiting else None)

    async def _try(self, row: SessionRow) -> None:
        """Encrypt the recording of *row*, or say why not; one that fails keeps no other from it."""
        (result,) = await asyncio.gather(self._encrypt(row), return_exceptions=True)
        match result:
            case None | FormatError():  # that does not mend itself; `bastion verify` tells
                for kept in (self._waiting, self._told, self._not_before):
                    kept.pop(row.id, None)
                self._searchable.discard(row.id)
            case OSError(errno=errno.ENOSPC) | Stopped():
                pass
            case _:
                self._not_before[row.id] = asyncio.get_running_loop().time() + self._retry
        if result is None or isinstance(result, Stopped) or self._told.get(row.id) == str(result):
            return
        if row.id in self._waiting:
            self._told[row.id] = str(result)
        is_expected = isinstance(result, OSError | sqlite3.Error | RecorderError)
        log.error(
            "recording.not-encrypted",
            session=row.id,
            reason=str(result),
            exc_info=None if is_expected else result,
        )

    async def _encrypt(self, row: SessionRow) -> None:
        if self._search is not None and row.id not in self._searchable:
            await self._enter_text(self._search, row)
            self._searchable.add(row.id)
        encryptor = self._encryptor()
        self._rests.begin()
        done = await writing(encryptor.encrypt, row.id, now=self._now, is_stopped=self._rests)
        if done is not None:
            await self._enter(done)
            log.info("recording.encrypted", session=row.id)
        if self._search is None:
            await writing(forget_text_of, encryptor.folder, [row.id])

    async def _enter_text(self, search: SearchFeed, row: SessionRow) -> None:
        """Wait for the text of a recording to be entered, which may take minutes; Stopped when we are to stop."""
        loop = asyncio.get_running_loop()
        entering = loop.create_task(search.enter_now(row))
        stopping = loop.create_task(self._stopped.wait())
        await asyncio.wait([entering, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not entering.done():
            entering.cancel()
            raise Stopped
