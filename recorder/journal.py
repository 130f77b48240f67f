"""A recording that is being written: events go in, and are in the file before `append` returns.

Encodes and hashes in the event loop, in the order of the calls, and leaves the writing to the `Writer`. The first
failure is final: whoever appends after it is told so. Nothing here can be lost to a cancelled task: what was handed
over is written, and a seal that was begun is finished.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from recorder.chain import Chain
from recorder.disk import writing
from recorder.encoder import Encoder
from recorder.errors import FormatError, RecordingFailed
from recorder.events import Event
from recorder.header import Header, Opening, encode_opening
from recorder.keys import SigningKey, VerifyKey
from recorder.masking import Dropping, Masking
from recorder.names import SessionId
from recorder.notary import Notary
from recorder.recovery import seal_unsealed
from recorder.redaction import PATTERNS, Pattern, Redaction
from recorder.statements import Account
from recorder.writer import OpenFile, Writer

log = structlog.get_logger()

FAILED = "recording failed"
CHECKPOINT_BYTES = 1024 * 1024
CHECKPOINT_SECONDS = 10.0


class Clock:
    """Microseconds since the clock was made: whole, so that rounding never adds up, and never less than before."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._origin = monotonic()
        self._last = 0

    def __call__(self) -> int:
        self._last = max(self._last, round((self._monotonic() - self._origin) * 1_000_000))
        return self._last


class Recording:
    """One recording, from `Store.begin` to its seal. *ended* is told the ending, and the account if it has a seal."""

    def __init__(
        self,
        *,
        opening: Opening,
        path: Path,
        file: OpenFile,
        writer: Writer,
        key: SigningKey,
        clock: Clock,
        now: Callable[[], float],
        ended: Callable[[Recording, str, Account | None], Awaitable[None]],
        secrets: Sequence[Pattern] = PATTERNS,
    ) -> None:
        self.opening = opening
        self.path = path
        self._file = file
        self._writer = writer
        self._key = key
        self._former_keys: tuple[VerifyKey, ...] = ()
        self._encoder = Encoder(shows_crlf=opening.shows_crlf)
        self._filters = _filters(opening.header, secrets)
        self._notary = Notary(opening.id, key, Chain())
        self._clock = clock
        self._now = now
        self._ended = ended
        self._failure: RecordingFailed | None = None
        self._sealing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def id(self) -> SessionId:
        return self.opening.id

    def use_key(self, key: SigningKey) -> None:
        """Sign with *key* from now on; what was signed before still holds."""
        self._former_keys = (*self._former_keys, self._key.verify_key)
        self._key = key
        self._notary.use_key(key)

    async def open(self) -> None:
        """Write the header and sign it, so that even the shortest recording has a beginning that is vouched for."""
        microseconds = self._clock()
        try:
            header = encode_opening(self.opening)
        except FormatError as error:
            raise RecordingFailed(error.message) from error
        lines = self._notary.admit([(header,)], microseconds) + self._notary.checkpoint(microseconds)
        await self._written(self._writer.submit(self._file, b"".join(lines)))

    async def append(self, events: Sequence[Event]) -> None:
        """Write *events* down; returns when all their bytes are as durable as the store promises.

        Calls are written in their order. Raises RecordingFailed, and from then on always.
        """
        if self._failure is not None:
            raise self._failure
        if self._sealing is not None:
            raise RecordingFailed("the recording of this session has been closed")
        microseconds = self._clock()
        try:
            for stage in self._filters:
                events = stage.take(events)
            groups = self._encoder.encode(events, microseconds)
        except FormatError as error:
            self._failure = RecordingFailed(error.message)
            raise self._failure from error
        lines = self._notary.admit(groups, microseconds)
        if self._notary.unsigned_bytes >= CHECKPOINT_BYTES:
            lines += self._notary.checkpoint(microseconds)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(CHECKPOINT_SECONDS, self._sign_what_is_due)
        if lines:
            await self._written(self._writer.submit(self._file, b"".join(lines)))

    async def seal(self, ending: str, exit_status: int | None) -> None:
        """End the recording. Further calls wait for the first one and change nothing.

        Raises RecordingFailed when it could not be sealed, or had failed before: then it is closed as "recording
        failed" as far as the disk allows, and else at the next start.
        """
        if self._sealing is None:
            if self._timer is not None:
                self._timer.cancel()
            # Its own task: a session that is cancelled while it ends must not leave a recording open.
            self._sealing = asyncio.get_running_loop().create_task(
                self._seal(ending, exit_status), name=f"seal {self.id}"
            )
        await asyncio.shield(self._sealing)

    async def _seal(self, ending: str, exit_status: int | None) -> None:
        account: Account | None = None
        try:
            account = await self._write_seal(ending, exit_status)
        except RecordingFailed as failure:
            account = await self._close_failed(failure)
            ending = FAILED
            raise
        finally:
            await self._ended(self, ending, account)

    async def _write_seal(self, ending: str, exit_status: int | None) -> Account:
        microseconds = self._clock()
        lines = [] if self._failure else self._last_lines(microseconds)
        account = Account(
            ending=ending,
            exit_status=exit_status,
            started_at=self.opening.header.started_at,
            ended_at=self._now(),
            duration=microseconds / 1_000_000,
            output_bytes=self._encoder.output_bytes,
            error_bytes=self._encoder.error_bytes,
            input_bytes=self._encoder.input_bytes,
        )
        lines += [] if self._failure else self._notary.seal(microseconds, account)
        await self._written(self._writer.submit(self._file, b"".join(lines), is_last=True))
        if self._failure is not None:
            raise self._failure
        return account

    def _last_lines(self, microseconds: int) -> list[bytes]:
        """What the filters held back, of which the seal vouches too."""
        events: list[Event] = []
        for stage in self._filters:
            events = [*stage.take(events), *stage.finish()]
        return self._notary.admit(self._encoder.encode(events, microseconds), microseconds)

    async def _close_failed(self, failure: RecordingFailed) -> Account | None:
        """Seal what could be written, if the disk lets us now."""
        try:
            return await writing(
                seal_unsealed, self.path, key=self._key, trusted=self._former_keys, ending=FAILED
            )
        except (OSError, FormatError) as error:
            log.error("recording.not_sealed", session=self.id, reason=failure.message, error=str(error))
            return None

    async def _written(self, write: asyncio.Future[None]) -> None:
        try:
            await write
        except OSError as error:
            self._failure = self._failure or write_failure(error)
            raise self._failure from error

    def _sign_what_is_due(self) -> None:
        """A timer: what was written is signed within seconds, also when the session falls silent."""
        self._timer = None
        if self._notary.unsigned_bytes and self._failure is None:
            lines = self._notary.checkpoint(self._clock())
            # A failure is final for the file, so the next append tells it.
            self._writer.submit(self._file, b"".join(lines)).add_done_callback(asyncio.Future.exception)


class _Filter(Protocol):
    """Decides what of the events is written down; what goes on to the peer is not changed by it."""

    def take(self, events: Sequence[Event]) -> list[Event]: ...
    def finish(self) -> list[Event]: ...


def _filters(header: Header, secrets: Sequence[Pattern]) -> list[_Filter]:
    filters: list[_Filter] = []
    if header.input == "none":
        filters.append(Dropping())
    elif header.input == "masked" and header.terminal is not None:  # elsewhere input is data, not typing
        filters.append(Masking(header.columns))
    if header.redacted:
        filters.append(Redaction(secrets))
    return filters


def write_failure(error: OSError) -> RecordingFailed:
    """What a person at the other end may know of *error*."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RecordingFailed(
            "the disk for recordings is full", hint="Free space, or move the recordings to a larger disk."
        )
    return RecordingFailed(f"the recording cannot be written ({error.strerror or error})")
