"""Adds the evidence to lines on their way to the file: tags as they become due, checkpoints and the seal when asked.

Knows nothing of events, files or clocks; it continues any chain, so that recovery can end what another process began.
"""

from __future__ import annotations

from collections.abc import Iterable

from recorder.chain import TAGS_PER_LINE, Chain
from recorder.keys import SigningKey
from recorder.lines import CHECKPOINT, SEAL, TAGS, encode_line
from recorder.names import SessionId
from recorder.statements import Account, Checkpoint, Seal, sign


class Notary:
    """Keeps the chain of recording *session_id* and signs it with *key*."""

    def __init__(self, session_id: SessionId, key: SigningKey, chain: Chain) -> None:
        self._id = session_id
        self._key = key
        self._chain = chain
        self.unsigned_bytes = 0

    def use_key(self, key: SigningKey) -> None:
        """Sign with *key* from now on."""
        self._key = key

    def admit(self, groups: Iterable[tuple[bytes, ...]], microseconds: int) -> list[bytes]:
        """All lines of *groups*, with tag lines between groups (never inside one) where they are due."""
        admitted: list[bytes] = []
        for group in groups:
            for line in group:
                self._add(line, admitted)
            if len(self._chain.tags) >= TAGS_PER_LINE:
                self._add_tags(microseconds, admitted)
        return admitted

    def checkpoint(self, microseconds: int) -> list[bytes]:
        """Lines that fix everything up to here."""
        lines: list[bytes] = []
        self._add_tags(microseconds, lines)
        statement = Checkpoint(
            id=self._id, lines=self._chain.lines, chain=self._chain.value.hex(), key=self._key.id
        )
        self._add(encode_line(microseconds, CHECKPOINT, sign(statement, self._key)), lines)
        self.unsigned_bytes = 0
        return lines

    def seal(self, microseconds: int, account: Account) -> list[bytes]:
        """The last lines of the recording."""
        lines: list[bytes] = []
        self._add_tags(microseconds, lines)
        seal = Seal(
            id=self._id,
            lines=self._chain.lines,
            chain=self._chain.value.hex(),
            key=self._key.id,
            session=account,
        )
        self._add(encode_line(microseconds, SEAL, sign(seal, self._key)), lines)
        self.unsigned_bytes = 0
        return lines

    def _add_tags(self, microseconds: int, lines: list[bytes]) -> None:
        if self._chain.tags:
            self._add(encode_line(microseconds, TAGS, self._chain.take_tags()), lines)

    def _add(self, line: bytes, lines: list[bytes]) -> None:
        self._chain.add(line)
        self.unsigned_bytes += len(line)
        lines.append(line)
