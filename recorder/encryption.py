"""Puts an encrypted file in the place of a sealed recording, so that whatever dies in between, nothing is lost.

The procedure:

1. Hold the plain file, and see that it is there and that this recorder sealed it.
2. Where an encrypted file of just this recording stands, labelled by us, go to 6: an earlier run came as far.
3. Write the encrypted file under another name, and wait until it is on the disk.
4. Put the label in its place.
5. Put the encrypted file in its place.
6. Wait until the names are on the disk, and delete the plain file.

Until then the plain file is the recording, and a run that was cut short is done again. Nothing is written that would
open the encrypted one: only the recipients can.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pyrage import EncryptError, encrypt_io

from recorder.catalog import SessionRow, read_row
from recorder.errors import FormatError, NotEncrypted
from recorder.folder import (
    encrypted_file,
    label_file,
    open_private,
    plain_file,
    sync_folder,
    unfinished_files,
)
from recorder.header import Header, decode_opening
from recorder.keys import SigningKey, VerifyKey, by_id
from recorder.label import Label, LastLine, encode_label, labelled_facts
from recorder.label_check import verify_labelled
from recorder.lines import LINE_LIMIT
from recorder.names import SessionId
from recorder.recipients import Recipients
from recorder.seals import sealed_by
from recorder.search_lines import Stopped

SYNC_EVERY = 16 * 1024 * 1024
"""Bytes that wait for the disk at most: sessions write to the same one."""

_CHUNK = 64 * 1024  # of the age format: each has a tag of 16 bytes, and a nonce stands before the first
_TAG = _NONCE = 16
_HEADER_END = b"\n--- "
_LONGEST_HEADER = 64 * 1024
_MAC = 43  # 32 bytes in base64 without padding, and a line feed comes after them


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryptor:
    """How recordings of *folder* are encrypted: to whom, and labelled by which *key*, *trusted* being its former ones.

    The last *min_free_bytes* of the disk are left to sessions, twice.
    """

    folder: Path
    recipients: Recipients
    key: SigningKey
    trusted: Iterable[VerifyKey]
    min_free_bytes: int

    def encrypt(
        self,
        session_id: SessionId,
        *,
        now: Callable[[], float],
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> SessionRow | None:
        """Encrypt a recording; its row as it is then, or None when there is no plain one (any more). Blocking.

        *is_stopped* is called again and again, may take its time, and ends it with Stopped. OSError when the disk does
        not let us, FormatError when it is not a sealed recording of ours, NotEncrypted for all else: whatever is
        raised, the plain file is there, whole.
        """
        plain = plain_file(self.folder, session_id)
        try:
            descriptor = os.open(plain, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink == 0:  # removed while we waited
                return None
            self._replace(file, session_id, now, is_stopped)
        return read_row(self.folder, encrypted_file(self.folder, session_id))

    def _replace(
        self,
        file: io.FileIO,
        session_id: SessionId,
        now: Callable[[], float],
        is_stopped: Callable[[], bool],
    ) -> None:
        plain = plain_file(self.folder, session_id)
        encrypted, label = encrypted_file(self.folder, session_id), label_file(self.folder, session_id)
        new, new_label = unfinished_files(self.folder, session_id)
        last = sealed_by(plain, by_id((*self.trusted, self.key.verify_key)))  # (1)
        if not self._is_there(encrypted, last):  # (2)
            try:
                written = self._write(file, new, is_stopped)  # (3)
                header = _header_of(file)
                content = encode_label(
                    Label(
                        id=session_id,
                        key=self.key.id,
                        at=now(),
                        size=written.size,
                        sha256=written.digest.hexdigest(),
                        recipients=self.recipients.names,
                        started_at=header.started_at,
                        facts=labelled_facts(header.facts),
                        seal=last.raw[:-1].decode(),
                    ),
                    self.key,
                )
                _write_whole(new_label, content)
                new_label.replace(label)  # (4)
                new.replace(encrypted)  # (5)
            finally:
                for leftover in (new, new_label):
                    leftover.unlink(missing_ok=True)
        sync_folder(plain.parent)  # (6)
        plain.unlink()
        sync_folder(plain.parent)

    def _is_there(self, encrypted: Path, last: LastLine) -> bool:
        try:
            found = verify_labelled(encrypted, (*self.trusted, self.key.verify_key))
        except FormatError:
            return False
        return found.state == "encrypted" and found.chain == last.chain

    def _write(self, plain: io.FileIO, new: Path, is_stopped: Callable[[], bool]) -> _Ciphertext:
        size = os.fstat(plain.fileno()).st_size
        self._require_room(size)
        descriptor = open_private(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            source = _Plaintext(plain, is_stopped)
            sink = _Ciphertext(descriptor, lambda: self._require_room(0))
            try:
                encrypt_io(source, sink, self.recipients.keys)
            except EncryptError as error:
                if not (source.failure or sink.failure):
                    raise NotEncrypted(f"age cannot encrypt it: {error}") from error
            # The binding reports no failure of its last write.
            if failure := source.failure or sink.failure:
                raise failure
            if source.size != size or sink.size != _expected_size(sink.beginning, size):
                raise NotEncrypted(f"encrypted it is {sink.size} bytes, of {source.size} that were read")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return sink

    def _require_room(self, size: int) -> None:
        """Leave sessions what they need: to be encrypted can wait."""
        disk = os.statvfs(self.folder)
        if disk.f_bavail * disk.f_frsize < size + 2 * self.min_free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Plaintext(io.BufferedIOBase):
    """What is encrypted, read piece by piece; *failure* is why it ended early."""

    def __init__(self, file: io.FileIO, is_stopped: Callable[[], bool]) -> None:
        super().__init__()
        self._file = file
        self._is_stopped = is_stopped
        self.size = 0
        self.failure: OSError | Stopped | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            if self._is_stopped():
                raise Stopped
            piece = os.pread(self._file.fileno(), _CHUNK if size is None or size < 0 else size, self.size)
        except (OSError, Stopped) as error:
            self.failure = error
            raise
        self.size += len(piece)
        return piece


class _Ciphertext(io.BufferedIOBase):
    """What comes of it, on its way to the disk; *failure* is the first that was raised, whoever hears of it."""

    def __init__(self, descriptor: int, require_room: Callable[[], None]) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._require_room = require_room
        self._unsynced = 0
        self.size = 0
        self.beginning = b""
        self.digest = hashlib.sha256()
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        if self.failure is not None:
            raise self.failure
        try:
            self._write(data)
        except OSError as error:
            self.failure = error
            raise
        return len(data)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self.digest.update(data)
        self.size += len(data)
        if len(self.beginning) < _LONGEST_HEADER:
            self.beginning += data
        self._unsynced += len(data)
        if self._unsynced >= SYNC_EVERY:
            os.fdatasync(self._descriptor)
            self._require_room()
            self._unsynced = 0


def _expected_size(beginning: bytes, size: int) -> int:
    """How long the age file that begins so must be, of *size* bytes of plain text (age-encryption.org/v1)."""
    header = beginning.find(_HEADER_END) + len(_HEADER_END) + _MAC + 1
    return header + _NONCE + size + _TAG * max(1, -(-size // _CHUNK))


def _header_of(file: io.FileIO) -> Header:
    first = os.pread(file.fileno(), LINE_LIMIT + 1, 0).partition(b"\n")[0] + b"\n"
    return decode_opening(first).header


def _write_whole(path: Path, content: bytes) -> None:
    descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
