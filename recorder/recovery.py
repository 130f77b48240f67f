"""Ends a recording that its server could not end: repairs the tail and seals what is there.

Used after a crash, and after a disk that was full. Only what is not a whole event is cut: nobody was given a byte of
it, because the write of it never returned; it is kept in a fact all the same. What shows signs of tampering is not
sealed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from recorder.errors import FormatError
from recorder.events import ErrorOutput, Exited, Input, Masked, Output
from recorder.examine import Examination, examine
from recorder.facts import encode_fact
from recorder.header import Opening
from recorder.keys import SigningKey, VerifyKey, by_id
from recorder.lines import FACT, LINE_LIMIT, encode_bytes, encode_line
from recorder.notary import Notary
from recorder.reader import Reader
from recorder.statements import Account, Recovery


def seal_unsealed(path: Path, *, key: SigningKey, trusted: Iterable[VerifyKey], ending: str) -> Account:
    """Repair the recording at *path* and seal it with *key*.

    FormatError when it has a seal, was changed or is damaged; OSError when it cannot be read or written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=256 * 1024) as file:
        content = _Content.read(Reader(file))
        file.seek(0)
        found = examine(file, by_id((*trusted, key.verify_key)), end=content.whole)
        if found.fault is not None:
            raise FormatError(found.fault.reason, line=found.fault.first)
        torn = os.pread(descriptor, os.fstat(descriptor).st_size - content.whole, content.whole)
        account = content.account(ending, Recovery(signed_lines=found.signed_lines, cut=len(torn)))
        os.ftruncate(descriptor, content.whole)
        rest = memoryview(_last_lines(content, found, key, torn, account))
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    return account


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What stands in a recording without a seal, up to the end of its last whole event at *whole*."""

    opening: Opening
    whole: int
    time: float
    streams: Counter[type]
    untold: int
    exit_status: int | None

    @classmethod
    def read(cls, recording: Reader) -> _Content:
        streams: Counter[type] = Counter()
        exit_status = None
        for entry in recording:
            match entry.event:
                case Output(data) | ErrorOutput(data) | Input(data):
                    streams[type(entry.event)] += len(data)
                case Masked(count):
                    streams[Input] += count
                case Exited(status):
                    exit_status = status
        streams[Input] += recording.untold
        if recording.seal is not None:
            raise FormatError("it is sealed already")
        return cls(
            opening=recording.opening,
            whole=recording.whole,
            time=recording.time,
            streams=streams,
            untold=recording.untold,
            exit_status=exit_status,
        )

    def account(self, ending: str, recovery: Recovery) -> Account:
        started_at = self.opening.header.started_at
        return Account(
            ending=ending,
            exit_status=self.exit_status,
            started_at=started_at,
            ended_at=started_at + self.time,
            duration=self.time,
            output_bytes=self.streams[Output],
            error_bytes=self.streams[ErrorOutput],
            input_bytes=self.streams[Input],
            recovery=recovery,
        )


def _last_lines(
    content: _Content, found: Examination, key: SigningKey, torn: bytes, account: Account
) -> bytes:
    microseconds = round(content.time * 1_000_000)
    notary = Notary(content.opening.id, key, found.chain)
    lines: list[bytes] = []
    if content.untold:  # its echo never came, or the server died before it was seen
        fact = encode_fact(Masked(content.untold))
        lines += notary.admit([(encode_line(microseconds, FACT, fact),)], microseconds)
    if torn:
        # With durability "kernel" a power cut can tear a line that somebody has seen: keep what is left of it.
        kept = encode_bytes(torn[: LINE_LIMIT // 2])
        fact = msgspec.json.encode({"is": "torn", "bytes": kept}).decode()
        lines += notary.admit([(encode_line(microseconds, FACT, fact),)], microseconds)
    return b"".join(lines + notary.seal(microseconds, account))
