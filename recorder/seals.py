"""The chain of seals: a signed line for each recording that was sealed, so that a deleted recording shows.

A file beside the recordings. Lines are only ever added, by whoever has the signing key: the server, and commands beside
it. It is no part of the index, and cannot be made again from the recordings. docs/recording-format.md specifies it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from recorder.catalog import last_line
from recorder.errors import FormatError
from recorder.header import decode_opening
from recorder.keys import SigningKey, VerifyKey, by_id
from recorder.label import LastLine, label_beside, last_line_in, read_label, read_last_line
from recorder.label_check import label_fault
from recorder.lines import LINE_LIMIT, decode_bytes, encode_bytes
from recorder.names import SessionId, id_in, is_encrypted

FILE = "seals.log"
NO_ENTRY = "0" * 64
_DOMAIN = b"bastion recording log 1\n"
_TAIL = 64 * 1024


class Sealed(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="sealed"):
    """Recording *id* was sealed: it has *lines* lines, and *chain* is the chain value over all of them, in hex.

    *number* counts entries from 1, *previous* is the SHA-256 of the line before, *key* the id of the key that signs.
    *at* is when it was entered, in Unix seconds.
    """

    number: int
    previous: str
    key: str
    at: float
    id: str
    lines: int
    chain: str
    ending: str


class Removed(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="removed"):
    """Recording *id* was removed on purpose: by whom, and why.

    The rest is what stays known of it: whose session on what it was, since when, what it took on the disk, and its
    *chain* as in the entry of its seal; *rule* is the rule of retention, if one removed it.
    """

    number: int
    previous: str
    key: str
    at: float
    id: str
    by: str
    reason: str
    rule: str = ""
    user: str = ""
    target: str = ""
    started_at: float | None = None
    size: int | None = None
    chain: str = ""


Entry = Sealed | Removed
_ENTRIES = msgspec.json.Decoder(Entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealLine:
    """A line of the file: the entry in it, what was signed, and the hash of the line, in hex."""

    entry: Entry
    message: bytes
    signature: bytes
    digest: str


def decode_entry(line: bytes, number: int) -> SealLine:
    """Take a line of the file apart strictly; the signature is not checked here."""
    if not line.endswith(b"\n"):
        raise FormatError("it does not end with a line feed", line=number)
    signature, _, text = line[:-1].partition(b" ")
    try:
        entry = _ENTRIES.decode(text)
        encoded = signature.decode("ascii")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"not an entry of the chain of seals ({error})", line=number) from None
    return SealLine(
        entry=entry,
        message=_DOMAIN + text,
        signature=decode_bytes(encoded, number),
        digest=hashlib.sha256(line).hexdigest(),
    )


def sealed_by(path: Path, keys: Mapping[str, VerifyKey]) -> LastLine:
    """The last line of the recording at *path*, plain or encrypted; FormatError unless one of *keys* sealed it.

    Only the ends are looked at, or the label: this is no verification.
    """
    if is_encrypted(path):
        found = read_label(label_beside(path))
        last, name = last_line_in(found.label), found.label.id
        if (fault := label_fault(found, last, keys)) or found.label.key not in keys:
            raise FormatError(fault or f"its label is signed with another key ({found.label.key})")
    else:
        with path.open("rb") as file:
            name = decode_opening(file.readline(LINE_LIMIT + 1)).id
            last = read_last_line(last_line(file.fileno()))
    key = keys.get(last.seal.key)
    if key is None or not key.verifies(last.signed.signature, last.signed.message):
        raise FormatError(f"its seal is not signed by a key of this recorder ({last.seal.key})")
    if not last.seal.id == name == id_in(path):
        raise FormatError(f"the file {path.name} holds recording {name} with the seal of {last.seal.id}")
    return last


class SealLog:
    """The chain of the recordings in *folder*. Blocking, for threads; other processes may add lines meanwhile."""

    def __init__(self, folder: Path, *, is_durable: bool) -> None:
        self.path = folder / FILE
        self._is_durable = is_durable

    def enter(self, path: Path, *, key: SigningKey, trusted: Iterable[VerifyKey], now: float) -> Sealed:
        """Add the sealed recording at *path*; of an encrypted one its label tells the seal.

        FormatError when it has no seal that holds: what somebody else put there does not get into the chain.
        """
        known = by_id((*trusted, key.verify_key))
        last = sealed_by(path, known)
        seal = last.seal
        if known[seal.key].is_retired(now):  # or a thief of it could have us vouch for what he put there
            raise FormatError(f"its seal is signed with key {seal.key}, which is retired")
        with self._tail() as (descriptor, number, previous):
            entry = Sealed(
                number=number,
                previous=previous,
                key=key.id,
                at=now,
                id=seal.id,
                lines=seal.lines + 1,
                chain=last.chain,
                ending=seal.session.ending,
            )
            self._add(descriptor, entry, key)
        return entry

    def remove(
        self,
        session_id: SessionId,
        *,
        by: str,
        reason: str,
        key: SigningKey,
        now: float,
        rule: str = "",
        user: str = "",
        target: str = "",
        started_at: float | None = None,
        size: int | None = None,
        chain: str = "",
    ) -> Removed:
        """Say that a recording is about to be removed on purpose."""
        with self._tail() as (descriptor, number, previous):
            entry = Removed(
                number=number,
                previous=previous,
                key=key.id,
                at=now,
                id=session_id,
                by=by,
                reason=reason,
                rule=rule,
                user=user,
                target=target,
                started_at=started_at,
                size=size,
                chain=chain,
            )
            self._add(descriptor, entry, key)
        return entry

    def known(self) -> set[str]:
        """The ids of the recordings that have an entry, whatever it is worth."""
        found = set()
        for number, line in enumerate(self.lines(), 1):
            try:
                found.add(decode_entry(line, number).entry.id)
            except FormatError:  # for `verify` to tell
                continue
        return found

    def lines(self) -> Iterator[bytes]:
        """The lines of the file; none when there is no file."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            while line := file.readline(LINE_LIMIT):
                yield line

    @contextmanager
    def _tail(self) -> Iterator[tuple[int, int, str]]:
        """The file, locked to be written at its end; the number of the next entry, and the hash of the last line."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            start = max(size - _TAIL, 0)
            tail = os.pread(descriptor, _TAIL, start)
            whole = tail[: tail.rfind(b"\n") + 1]
            if len(whole) < len(tail):  # of a write that never returned: nobody has been told of it
                os.ftruncate(descriptor, start + len(whole))
            last = whole[whole.rfind(b"\n", 0, -1) + 1 :]
            yield descriptor, self._number_after(last), hashlib.sha256(last).hexdigest() if last else NO_ENTRY
        finally:
            os.close(descriptor)

    def _number_after(self, last: bytes) -> int:
        if not last:
            return 1
        try:
            return decode_entry(last, 0).entry.number + 1
        except (
            FormatError
        ):  # somebody changed it; that shows, and what comes after it must be kept all the same
            return sum(1 for _ in self.lines()) + 1

    def _add(self, descriptor: int, entry: Entry, key: SigningKey) -> None:
        text = msgspec.json.encode(entry)
        line = encode_bytes(key.sign(_DOMAIN + text)).encode() + b" " + text + b"\n"
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if self._is_durable:
            os.fdatasync(descriptor)
