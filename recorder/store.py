"""A folder of recordings and the one server that writes to it.

Begins recordings, and refuses when they could not be kept; finds those whose server died and seals them; keeps the
index up with the files. The index is derived: that it fails is logged, and never the end of a recording.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import structlog

from recorder.catalog import LIVE, SessionRow, make_row, read_row, recordings
from recorder.disk import reading, writing
from recorder.encryption import Encryptor
from recorder.encryption_feed import EncryptionFeed
from recorder.errors import FormatError, RecorderError, RecordingFailed
from recorder.folder import files_of, make_folders, recording_file, sync_folder, take
from recorder.header import Header, Opening
from recorder.index import Index
from recorder.journal import FAILED, Clock, Recording, write_failure
from recorder.keys import SigningKey, VerifyKey
from recorder.names import SessionId, id_in, new_id, place
from recorder.recipients import Recipients
from recorder.recovery import seal_unsealed
from recorder.redaction import PATTERNS, Pattern, redact_facts
from recorder.seals import SealLog
from recorder.search_feed import SearchFeed, forget_text
from recorder.seek_feed import SeekFeed
from recorder.statements import Account
from recorder.writer import Durability, OpenFile, Writer

log = structlog.get_logger()
T = TypeVar("T")

INTERRUPTED = "interrupted"
MIN_FREE_BYTES = 64 * 1024 * 1024
MIN_FREE_FILES = 64
PATIENCE = 10.0
"""Seconds that a disk has to begin a recording; whoever wants a session is told then that it does not answer."""
RESERVED_PART = 16
"""This part of what must be free for a new session is left to seals and the index when sessions fill the disk."""


class Store:
    """Made by `Store.open`."""

    def __init__(
        self,
        folder: Path,
        *,
        lock: int,
        key: SigningKey,
        trusted: Iterable[VerifyKey],
        durability: Durability,
        index: Index,
        search: SearchFeed | None,
        recipients: Recipients | None,
        keeps_encrypted_text: bool,
        min_free_bytes: int,
        patience: float,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self.folder = folder
        self.index = index
        self.search = search
        self.seek = SeekFeed(folder, min_free_bytes=min_free_bytes)
        self._lock = lock
        self._key = key
        self._trusted = tuple(trusted)
        self._durability = durability
        self._min_free_bytes = min_free_bytes
        self._patience = patience
        self._now = now
        self._monotonic = monotonic
        self._random = random
        self._writer = Writer(durability, reserve=min_free_bytes // RESERVED_PART)
        self._seals = SealLog(folder, is_durable=durability == "disk")
        self._unchained: set[SessionId] = set()  # sealed, and the chain of seals could not be written
        self._live: dict[SessionId, Recording] = {}
        self._unsealed: dict[SessionId, Path] = {}  # failed, and the disk did not let us seal them
        self._tasks: set[asyncio.Task[Any]] = set()
        self._index_is_behind = False
        self._is_closed = False
        self._recipients = recipients
        self.encryption: EncryptionFeed | None = None
        if recipients is not None:
            self.encryption = EncryptionFeed(
                encryptor=lambda: self._encryptor(recipients),
                enter=self._enter,
                search=search if keeps_encrypted_text else None,
                now=now,
            )

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        key: SigningKey,
        trusted: Iterable[VerifyKey] = (),
        durability: Durability = "kernel",
        is_searchable: bool = True,
        recipients: Recipients | None = None,
        keeps_encrypted_text: bool = False,
        min_free_bytes: int = MIN_FREE_BYTES,
        patience: float = PATIENCE,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Store:
        """Take *folder* for this process (FolderInUse when another has it) and open its index.

        *trusted* are retired keys of this recorder, by which recovery knows what an earlier run signed.
        Without *is_searchable* no text is kept beside the recordings, and what there was is deleted. With *recipients*
        what is recorded from now on is encrypted to them once it is sealed, and its text kept only if told so.
        *patience* is how many seconds `begin` waits for the disk.
        """
        folder = folder.absolute()
        lock = take(folder)
        try:
            if not is_searchable:
                await writing(forget_text, folder)
            index = await Index.open(folder)
        except BaseException:
            os.close(lock)
            raise
        return cls(
            folder,
            lock=lock,
            key=key,
            trusted=trusted,
            durability=durability,
            index=index,
            search=SearchFeed(folder, min_free_bytes=min_free_bytes, keeps_encrypted=keeps_encrypted_text)
            if is_searchable
            else None,
            recipients=recipients,
            keeps_encrypted_text=keeps_encrypted_text,
            min_free_bytes=min_free_bytes,
            patience=patience,
            now=now,
            monotonic=monotonic,
            random=random,
        )

    @property
    def live(self) -> tuple[Recording, ...]:
        """The recordings being written."""
        return tuple(self._live.values())

    @property
    def key_id(self) -> str:
        """The id of the key that signs."""
        return self._key.id

    def use_key(self, key: SigningKey, trusted: Iterable[VerifyKey]) -> None:
        """Sign with *key* from now on, also what runs; *trusted* are the retired ones."""
        self._key, self._trusted = key, tuple(trusted)
        for recording in self.live:
            recording.use_key(key)

    async def begin(self, header: Header, secrets: Sequence[Pattern] = PATTERNS) -> Recording:
        """Begin a recording; RecordingFailed, fit for the person who wanted the session, when it could not be kept.

        *secrets* are what is taken out of it if the header says that it is redacted.
        """
        if self._is_closed:
            raise RecordingFailed("the recorder has been closed")
        # Its own task: a caller who is cancelled meanwhile must not leave an open file that nobody knows.
        given_up = threading.Event()
        task = self._own(asyncio.get_running_loop().create_task(self._begin(header, secrets, given_up)))
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(task)
        except (asyncio.CancelledError, TimeoutError) as error:
            given_up.set()
            self._own(asyncio.get_running_loop().create_task(_discard(task)))
            if not isinstance(error, TimeoutError):
                raise
            log.error("recording.not_opened", error=f"the disk has not answered for {self._patience} s")
            raise RecordingFailed("the disk for recordings does not answer") from None

    async def recover(self) -> list[SessionRow]:
        """Seal as "interrupted" what a server left that died, and enter what the index lacks; say what was sealed.

        What is to be encrypted and is not will be.
        """
        known = await self.index.endings()
        recovered = []
        for path in await reading(lambda: list(recordings(self.folder))):
            session_id = SessionId(id_in(path))
            before = known.get(session_id)
            if session_id in self._live or (before is not None and before.is_sealed and before.path == path):
                continue
            ending = FAILED if session_id in self._unsealed else before.ending if before is not None else LIVE
            row = await self._recover(path, INTERRUPTED if ending == LIVE else ending)
            if row is not None:
                recovered.append(row)
        rows = await self.index.list()
        await self._chain_missing(rows)
        self.seek.catch_up(rows)
        if self.search is not None:
            self.search.catch_up(rows)
        if self.encryption is not None:
            self.encryption.catch_up(rows)
        return recovered

    async def close(self) -> None:
        """Seal what is still being written as "server stopped", and give the folder back."""
        if self._is_closed:
            return
        self._is_closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        for recording in self.live:
            with contextlib.suppress(RecordingFailed):  # logged, and sealed at the next start
                await recording.seal("server stopped", None)
        await self._make_up()
        await self._writer.close()
        if self.encryption is not None:
            await self.encryption.close()
        await self.seek.close()
        if self.search is not None:
            await self.search.close()
        await self.index.close()
        os.close(self._lock)

    async def _begin(
        self, header: Header, secrets: Sequence[Pattern], given_up: threading.Event
    ) -> Recording:
        header = replace(header, encrypt=self._recipients is not None)
        if header.redacted:
            header = replace(header, facts=redact_facts(header.facts, secrets))
        try:
            opening, path, descriptor = await writing(self._create, header, given_up)
        except OSError as error:
            log.error("recording.not_opened", error=str(error))
            raise write_failure(error) from error
        file = OpenFile(descriptor)
        recording = Recording(
            opening=opening,
            path=path,
            file=file,
            writer=self._writer,
            key=self._key,
            clock=Clock(self._monotonic),
            now=self._now,
            ended=self._recording_ended,
            secrets=secrets,
        )
        try:
            await recording.open()
        except RecordingFailed as failure:
            log.error("recording.not_opened", session=opening.id, error=str(failure))
            self._writer.submit(file, b"", is_last=True).add_done_callback(asyncio.Future.exception)
            with contextlib.suppress(
                OSError
            ):  # the disk that took no header may not let go of the file either
                path.unlink()  # nothing was recorded, and nothing has been seen
            raise
        self._live[opening.id] = recording
        await self._enter(make_row(self.folder, opening, None))
        return recording

    def _create(self, header: Header, given_up: threading.Event) -> tuple[Opening, Path, int]:
        """Make the file of a new recording, locked for as long as it is open: that is how others know it is live."""
        if given_up.is_set():  # while others waited for the disk
            raise RecordingFailed("nobody waits for this recording any more")
        self._require_space()
        while True:
            opening = Opening(id=new_id(header.started_at, self._random), key_id=self._key.id, header=header)
            path = self.folder / place(opening.id)
            if files_of(self.folder, opening.id):  # one chance in 34 thousand million a day
                continue
            make_folders(path.parent, self.folder, is_durable=self._durability == "disk")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                descriptor = os.open(path, flags, 0o600)
            except (FileExistsError, FileNotFoundError):
                continue  # retention may have found the folder empty, and taken it away just now
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self._durability == "disk":
                sync_folder(path.parent)
            return opening, path, descriptor

    def _require_space(self) -> None:
        space = os.statvfs(self.folder)
        free = space.f_bavail * space.f_frsize
        if free < self._min_free_bytes or (space.f_files and space.f_favail < MIN_FREE_FILES):
            raise RecordingFailed(
                "the disk for recordings is nearly full",
                hint=f"{self.folder} has {free >> 20} MiB and {space.f_favail} files free;"
                f" a new session needs {self._min_free_bytes >> 20} MiB and {MIN_FREE_FILES} files.",
            )

    async def _recover(self, path: Path, ending: str) -> SessionRow | None:
        """The row of the recording at *path* if it was sealed now; a sealed one is only entered in the index."""
        try:
            row = await reading(read_row, self.folder, path)
            if row.ended_at is not None:
                await self._enter(row)
                return None
            account = await writing(seal_unsealed, path, key=self._key, trusted=self._trusted, ending=ending)
            row = await reading(read_row, self.folder, path)
        except FormatError as error:
            log.error("recording.damaged", path=str(path), error=str(error))
            return None
        except OSError as error:
            log.error("recording.not_sealed", path=str(path), error=str(error))
            if ending == FAILED:
                self._unsealed[SessionId(path.stem)] = path
            return None
        self._unsealed.pop(row.id, None)
        await self._chain(row.id, path)
        await self._enter(row)
        log.warning(
            "recording.recovered",
            session=row.id,
            ending=ending,
            cut=account.recovery and account.recovery.cut,
        )
        return row

    async def _recording_ended(self, recording: Recording, ending: str, account: Account | None) -> None:
        del self._live[recording.id]
        row = make_row(self.folder, recording.opening, account)
        if account is None:
            self._unsealed[recording.id] = recording.path
            row = replace(row, ending=ending)
        else:
            await self._chain(recording.id, recording.path)
            if (self._unsealed or self._unchained) and not self._is_closed and ending != FAILED:
                self._own(asyncio.get_running_loop().create_task(self._make_up()))  # the disk writes again
        await self._enter(row)
        if account is not None:
            self._take_care_of(row)

    def _take_care_of(self, row: SessionRow) -> None:
        """Have a recording that was sealed now encrypted, or its text entered; and its key points."""
        self.seek.add(row)
        if self.encryption is not None:
            self.encryption.add(row)
        elif self.search is not None:
            self.search.add(row)

    def _encryptor(self, recipients: Recipients) -> Encryptor:
        return Encryptor(
            folder=self.folder,
            recipients=recipients,
            key=self._key,
            trusted=self._trusted,
            min_free_bytes=self._min_free_bytes,
        )

    async def _make_up(self) -> None:
        """Seal, and enter in the chain of seals, what a full or broken disk kept from it."""
        unsealed, self._unsealed = self._unsealed, {}
        for path in unsealed.values():
            if (row := await self._recover(path, FAILED)) is not None:
                self._take_care_of(row)
        unchained, self._unchained = self._unchained, set()
        for session_id in unchained:
            await self._chain(session_id, recording_file(self.folder, session_id))

    async def _chain(self, session_id: SessionId, path: Path) -> None:
        """Add a recording that has just been sealed to the chain of seals, before anybody hears of its end."""
        try:
            entry = await writing(
                self._seals.enter, path, key=self._key, trusted=self._trusted, now=self._now()
            )
        except (FormatError, OSError) as error:
            self._unchained.add(session_id)  # tried again when another one is sealed, and at the end
            log.error("seals.behind", session=session_id, error=str(error))
        else:
            self._unchained.discard(session_id)
            # Whoever keeps the logs elsewhere can tell later that the end of the chain was cut.
            log.info("recording.sealed", session=session_id, entry=entry.number, chain=entry.chain)

    async def _chain_missing(self, rows: Iterable[SessionRow]) -> None:
        """Add what a crash kept out of the chain, between the seal and the entry."""
        known = await reading(self._seals.known)
        missing = [
            row for row in rows if row.ended_at is not None and row.id not in known and row.path.exists()
        ]
        for row in sorted(missing, key=lambda row: row.ended_at or 0.0):
            await self._chain(row.id, row.path)

    async def _enter(self, row: SessionRow) -> None:
        try:
            if self._index_is_behind:
                await self.index.reopen()
                self._index_is_behind = False
            await self.index.put([row])
        except (sqlite3.Error, RecorderError) as error:
            self._index_is_behind = True
            log.error("index.behind", session=row.id, error=str(error))

    def _own(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """Keep *task* until it ends; `close` waits for it."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _discard(beginning: asyncio.Task[Recording]) -> None:
    """Close a recording that nobody waits for any more."""
    with contextlib.suppress(RecordingFailed):  # then there is none
        recording = await beginning
        await recording.seal("failed", None)
