"""Recordings that were encrypted with age: opened with an identity, and read as if they were plain.

Nothing of the plain text gets to a disk: a thread decrypts, and hands over piece by piece as they are read. Knows
nothing of what stands in a recording.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pyrage import DecryptError, IdentityError, decrypt_io, ssh, x25519

from recorder.errors import FormatError, NoIdentityFits, RecorderKeyError
from recorder.label import recipients_of
from recorder.names import is_encrypted

Identity = x25519.Identity | ssh.Identity

_BUFFER = 256 * 1024
_AHEAD = 4 * _BUFFER
_NO_MATCH = "No matching keys found"
_AGE_FILES = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE")


def read_identities(path: Path) -> list[Identity]:
    """The identities in a file as `age -i` takes it: AGE-SECRET-KEY lines, or a private SSH key, not locked."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecorderKeyError(f"The identity {path} cannot be read: {error.strerror}.") from error
    if content.startswith(_AGE_FILES):
        raise RecorderKeyError(
            f"The identity {path} has a passphrase.",
            hint=f"Let age ask for it, in bash: --identity <(age -d {path})",
        )
    try:
        if b"PRIVATE KEY-----" in content:
            return [ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in content.decode().splitlines()]
        identities: list[Identity] = [
            x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")
        ]
    except IdentityError as error:
        hint = "Other kinds, such as those of age's plugins, only age itself takes: age -d -i IDENTITY FILE.cast.age"
        if "must be decrypted" in str(error):
            hint = "It has a passphrase: take that off a copy with ssh-keygen -p -f COPY, or decrypt with age -d."
        raise RecorderKeyError(f"{path} is no identity that can be used: {error}.", hint=hint) from None
    except UnicodeDecodeError:
        identities = []
    if not identities:
        raise RecorderKeyError(
            f"There is no identity in {path}.",
            hint="It holds AGE-SECRET-KEY lines, as age-keygen writes them, or one private SSH key.",
        )
    return identities


def open_plain(path: Path, identities: Sequence[Identity]) -> BinaryIO:
    """Open a recording to be read from its start, decrypting it where its name ends in `.age`. It can be sought in.

    Raises OSError as `open` does, RecorderKeyError without an identity. Reading raises NoIdentityFits, or FormatError
    when the file is cut or changed: never is a part taken for the whole.
    """
    if not is_encrypted(path):
        return path.open("rb", buffering=_BUFFER)
    require_identity(path, identities)
    return io.BufferedReader(_Decrypted(path, identities), _BUFFER)


def require_identity(path: Path, identities: Sequence[Identity]) -> None:
    """RecorderKeyError when *path* is encrypted and there are no *identities*; whether one fits shows on reading."""
    if is_encrypted(path) and not identities:
        raise RecorderKeyError(
            f"{path.name} is encrypted, and there is no identity to read it with.",
            hint="bastion play, verify and export read it with --identity FILE: an age identity or a private SSH key."
            + _for_whom(path),
        )


def _for_whom(path: Path) -> str:
    names = recipients_of(path)
    return "\nIt was encrypted to:" + "".join(f"\n  {name}" for name in names) if names else ""


class _Decrypted(io.RawIOBase):
    """The reading end. The thread is a little ahead, and ends when this is closed.

    To go back is to decrypt from the start again, as far as that.
    """

    def __init__(self, path: Path, identities: Sequence[Identity]) -> None:
        super().__init__()
        self._path = path
        self._identities = list(identities)
        self._run = _Run(path, self._identities)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end is not known before it has been decrypted")
        wanted = offset + (self._at if whence == io.SEEK_CUR else 0)
        if wanted < self._at:
            self._run.close()
            self._run, self._at = _Run(self._path, self._identities), 0
        skipped = bytearray(_BUFFER)
        while self._at < wanted and self.readinto(memoryview(skipped)[: wanted - self._at]):
            pass
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        length = self._run.take_into(memoryview(buffer))
        self._at += length
        return length

    def close(self) -> None:
        if not self.closed:
            self._run.close()
        super().close()


class _Run:
    """One decryption of the file at *path*, from its start, by a thread of its own."""

    def __init__(self, path: Path, identities: list[Identity]) -> None:
        self._path = path
        self._file = path.open("rb")
        self._handover = _Handover()
        self._failure: DecryptError | OSError | None = None
        self._thread = threading.Thread(target=self._decrypt, args=(identities,), name="decrypt", daemon=True)
        self._thread.start()

    def take_into(self, buffer: memoryview) -> int:
        length = self._handover.take_into(buffer)
        if length == 0 and self._failure is not None:
            if str(self._failure) == _NO_MATCH:
                raise NoIdentityFits(
                    f"{self._path.name} cannot be decrypted: it is not for the identity that was named.",
                    hint="Name that of one of the keys it is for." + _for_whom(self._path),
                )
            raise FormatError(f"{self._path.name} cannot be decrypted: {self._failure}")
        return length

    def close(self) -> None:
        self._handover.close()
        self._thread.join()

    def _decrypt(self, identities: list[Identity]) -> None:
        try:
            with self._file:
                decrypt_io(self._file, self._handover, identities)
        except (DecryptError, OSError) as error:
            self._failure = error
        finally:
            self._handover.end()


class _Handover(io.BufferedIOBase):
    """What the thread writes to. It waits while *_AHEAD* bytes have not been read."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: deque[memoryview] = deque()
        self._unread = 0
        self._has_ended = self._is_closed = False
        self._changed = threading.Condition()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._unread < _AHEAD)
            if self._is_closed:
                raise BrokenPipeError("nobody reads any more")
            if data:
                self._pieces.append(memoryview(bytes(data)))
                self._unread += len(data)
            self._changed.notify_all()
        return len(data)

    def take_into(self, buffer: memoryview) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._has_ended or self._pieces)
            length = 0
            while self._pieces and length < len(buffer):
                piece = self._pieces.popleft()
                part = piece[: len(buffer) - length]
                buffer[length : length + len(part)] = part
                length += len(part)
                if len(part) < len(piece):
                    self._pieces.appendleft(piece[len(part) :])
            self._unread -= length
            self._changed.notify_all()
            return length

    def end(self) -> None:
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        super().close()
