"""Encrypts recordings that are plain because they were made before it was so configured. The server may run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from bastion.config.model import Config
from bastion.errors import ConfigError
from recorder.catalog import SessionRow
from recorder.encryption import Encryptor
from recorder.errors import RecorderError
from recorder.index import Index
from recorder.keys import SigningKey, published_keys
from recorder.names import is_encrypted
from recorder.recipients import Recipients
from recorder.search_feed import enter_recording, forget_text_of
from recorder.store import MIN_FREE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one recording: *row* as it is now; *problem* says why it is still plain, if it is."""

    row: SessionRow
    problem: str = ""


def encryptor_of(config: Config) -> Encryptor:
    """How *config* wants recordings encrypted; ConfigError when it does not."""
    recipients = Recipients.parse(config.recording.encrypt_to)
    if recipients is None:
        raise ConfigError(
            "no keys are configured to encrypt recordings to", hint="Set encrypt_to in [recording]."
        )
    return Encryptor(
        folder=config.recordings_folder,
        recipients=recipients,
        key=SigningKey.load(config.recorder_key_file),
        trusted=published_keys(config.recorder_key_file),
        min_free_bytes=MIN_FREE_BYTES,
    )


def encryptable(rows: Sequence[SessionRow]) -> list[SessionRow]:
    """Those of *rows* that are sealed and plain."""
    return [row for row in rows if row.ended_at is not None and not is_encrypted(row.path)]


async def encrypt_plain(
    config: Config, index: Index, rows: Sequence[SessionRow], *, now: Callable[[], float]
) -> AsyncIterator[Tried]:
    """Encrypt the recordings of *rows*, and forget of them what is not to be kept; yields what came of each."""
    encryptor = encryptor_of(config)
    keeps_text = config.recording.search and config.recording.search_encrypted
    try:
        for row in rows:
            try:
                if keeps_text:  # as long as it can be read
                    await asyncio.to_thread(enter_recording, encryptor.folder, row.id, row.path)
                done = await asyncio.to_thread(encryptor.encrypt, row.id, now=now)
            except (OSError, RecorderError) as error:
                yield Tried(row=row, problem=str(error))
                continue
            if done is None:
                continue  # somebody else has removed or encrypted it
            await index.put([done])
            if not keeps_text:
                await asyncio.to_thread(forget_text_of, encryptor.folder, [row.id])
            yield Tried(row=done)
    finally:
        await index.purge()
