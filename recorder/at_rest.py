"""Recordings that were encrypted with age: opened with an identity, and read as if they were plain.

Nothing of the plain text gets to a disk: a thread decrypts, and hands over piece by piece as they are read. Knows
nothing of what stands in a recording.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from pyrage import DecryptError, IdentityError, decrypt_io, ssh, x25519

from recorder.errors import FormatError, RecorderKeyError

SUFFIX = ".age"
Identity = x25519.Identity | ssh.Identity

_BUFFER = 256 * 1024


def read_identities(path: Path) -> list[Identity]:
    """The identities in a file as `age -i` takes it: AGE-SECRET-KEY lines, or a private SSH key, not locked."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecorderKeyError(f"The identity {path} cannot be read: {error.strerror}.") from error
    try:
        if b"PRIVATE KEY-----" in content:
            return [ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in content.decode().splitlines()]
        identities: list[Identity] = [
            x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")
        ]
    except IdentityError as error:
        hint = ""
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
    """Open a recording to be read from its start, decrypting it where its name ends in `.age`.

    Raises OSError as `open` does, RecorderKeyError without an identity. Reading raises FormatError when no identity
    fits, or the file is cut or changed: never is a part taken for the whole.
    """
    if path.suffix != SUFFIX:
        return path.open("rb", buffering=_BUFFER)
    if not identities:
        raise RecorderKeyError(
            f"{path} is encrypted, and there is no identity to read it with.",
            hint="Name the file of your age identity or private SSH key with --identity.",
        )
    return io.BufferedReader(_Decrypted(path.open("rb"), path.name, identities), _BUFFER)


class _Decrypted(io.RawIOBase):
    """The reading end. The thread is one piece ahead at most, and ends when this is closed."""

    def __init__(self, file: io.BufferedReader, name: str, identities: Sequence[Identity]) -> None:
        super().__init__()
        self._name = name
        self._handover = _Handover()
        self._failure: DecryptError | OSError | None = None
        self._thread = threading.Thread(
            target=self._decrypt, args=(file, list(identities)), name="decrypt", daemon=True
        )
        self._thread.start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        length = self._handover.take_into(memoryview(buffer))
        if length == 0 and self._failure is not None:
            raise FormatError(f"{self._name} cannot be decrypted: {self._failure}")
        return length

    def close(self) -> None:
        if not self.closed:
            self._handover.close()
            self._thread.join()
        super().close()

    def _decrypt(self, file: io.BufferedReader, identities: list[Identity]) -> None:
        try:
            with file:
                decrypt_io(file, self._handover, identities)
        except (DecryptError, OSError) as error:
            self._failure = error
        finally:
            self._handover.end()


class _Handover(io.BufferedIOBase):
    """What the thread writes to. Each piece is waited for until it has been read."""

    def __init__(self) -> None:
        super().__init__()
        self._piece = memoryview(b"")
        self._has_ended = self._is_closed = False
        self._changed = threading.Condition()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or not self._piece)
            if self._is_closed:
                raise BrokenPipeError("nobody reads any more")
            self._piece = memoryview(bytes(data))
            self._changed.notify_all()
        return len(data)

    def take_into(self, buffer: memoryview) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._has_ended or self._piece)
            length = min(len(buffer), len(self._piece))
            buffer[:length] = self._piece[:length]
            self._piece = self._piece[length:]
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
