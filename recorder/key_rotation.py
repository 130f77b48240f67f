"""Puts a new signing key in the place of the recorder's, at any moment and whatever dies in between.

Public halves stay beside it under names with their ids (`recorder-key-rk-….pub`), and are there before a key signs
anything: what any key ever signed can be verified. The old private key is gone for good, and its public half gets a
date: who copied the private one earlier cannot sign what is later.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recorder.errors import RecorderKeyError
from recorder.keys import SigningKey, VerifyKey, public_path, published_keys

_TEMPORARY = ".recorder-key.new"
"""One name for all of them, so that what a killed rotation leaves is gone after the next."""

OVERLAP = 2 * 3600.0
"""Seconds from a rotation to the date: a running server takes the new key within a second, and if it was not told, in
an hour; then its running sessions sign with it as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotation:
    """What came of it."""

    old: VerifyKey
    new: VerifyKey


def rotate(path: Path, *, now: Callable[[], float] = time.time) -> KeyRotation:
    """Replace the signing key at *path*. Whoever reads it finds the old one or the new one, whole.

    1. Publish the old key under its id, and the new one.
    2. Rename the new private key to *path*. From here on it is the key.
    3. Rename its public half to where the present one is looked for.
    4. Write into the published halves of all other keys from when on they are retired, where it does not stand yet.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            old = SigningKey.load(path).verify_key
            new = SigningKey.generate()
            for key in (old, new.verify_key):
                _replace(_published_path(path, key), key.pem(), 0o644)
            _replace(path, new.private_pem(), 0o600)
            _replace(public_path(path), new.verify_key.pem(), 0o644)
            old = _retire_others(path, new.verify_key, int(now() + OVERLAP))[old.id]
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise RecorderKeyError(
            f"The recorder's signing key {path} cannot be replaced: {error.strerror}."
        ) from error
    return KeyRotation(old=old, new=new.verify_key)


def _retire_others(path: Path, present: VerifyKey, at: int) -> dict[str, VerifyKey]:
    """Date all published keys but *present*: the last one, and any whose rotation was killed; all of them by id."""
    for file in sorted(path.parent.glob(f"{path.name}-*.pub")):
        key = VerifyKey.load(file)
        if key.id != present.id and key.retired_at is None:
            _replace(file, key.retired(at).pem(), 0o644)
    return {key.id: key for key in published_keys(path)}


def _published_path(path: Path, key: VerifyKey) -> Path:
    return path.with_name(f"{path.name}-{key.id}.pub")


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Write *path* anew as a whole, on the disk before it has its name; it belongs to whom its folder does."""
    temporary = path.with_name(_TEMPORARY)
    temporary.unlink(missing_ok=True)  # of a rotation that was killed
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
