"""The folder of recordings on the disk: taken by one server alone, and its subfolders made to last."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from recorder.errors import FolderInUse, RecorderError
from recorder.names import SessionId, place


def take(folder: Path) -> int:
    """Make *folder* if it is missing and lock it for this process; the descriptor holds the lock."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RecorderError(f"The folder of recordings {folder} cannot be used: {error.strerror}.") from error
    try:
        if (mode := stat.S_IMODE(os.fstat(lock).st_mode)) & 0o077:
            raise RecorderError(
                f"Others can read the folder of recordings {folder} (mode {mode:04o}).",
                hint=f"chmod 700 {folder}",
            )
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise FolderInUse(
            f"Another server writes its recordings to {folder}.",
            hint="Stop it, or give this one a folder of its own ([recording] folder).",
        ) from None
    except BaseException:
        os.close(lock)
        raise
    return lock


def files_of(folder: Path, session_id: SessionId) -> list[Path]:
    """The files of a recording that are there: what is deleted when it is removed, and copied in a backup."""
    return [path for path in (folder / place(session_id),) if path.exists()]


def make_folders(folder: Path, top: Path, *, is_durable: bool) -> None:
    """Make *folder* and what is missing between it and *top*."""
    if folder == top or folder.is_dir():
        return
    make_folders(folder.parent, top, is_durable=is_durable)
    folder.mkdir(mode=0o700, exist_ok=True)
    if is_durable:
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in *folder* are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
