"""The folder of recordings on the disk: taken by one server alone, which files are whose, subfolders made to last.

A recording is one plain file, or an encrypted one with its label. Where both are there, because a replacement was cut
short, the plain file is the recording, and nothing else counts until it is gone.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from recorder.errors import FolderInUse, RecorderError
from recorder.names import ENCRYPTED, LABEL, SessionId, place


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


def plain_file(folder: Path, session_id: SessionId) -> Path:
    """Where a recording stands that is not encrypted."""
    return folder / place(session_id)


def encrypted_file(folder: Path, session_id: SessionId) -> Path:
    """Where a recording stands that is encrypted."""
    return (folder / place(session_id)).with_suffix(ENCRYPTED)


def label_file(folder: Path, session_id: SessionId) -> Path:
    """What can be read without a key of an encrypted recording."""
    return (folder / place(session_id)).with_suffix(LABEL)


def unfinished_files(folder: Path, session_id: SessionId) -> tuple[Path, Path]:
    """The names that an encrypted file and its label have until they are whole."""
    encrypted, label = encrypted_file(folder, session_id), label_file(folder, session_id)
    return encrypted.with_name(f".{encrypted.name}.part"), label.with_name(f".{label.name}.part")


def recording_file(folder: Path, session_id: SessionId) -> Path:
    """The file of a recording as it is now; where none is there, the plain one that is missing."""
    plain, encrypted = plain_file(folder, session_id), encrypted_file(folder, session_id)
    return encrypted if not plain.exists() and encrypted.exists() else plain


def files_of(folder: Path, session_id: SessionId) -> list[Path]:
    """The files that are a recording: what is copied in a backup, and what it takes on the disk."""
    plain = plain_file(folder, session_id)
    if plain.exists():
        return [plain]
    encrypted = (encrypted_file(folder, session_id), label_file(folder, session_id))
    return [path for path in encrypted if path.exists()]


def leavings_of(folder: Path, session_id: SessionId) -> list[Path]:
    """Every file there is of a recording, also of a replacement that was cut short: what goes when it is removed."""
    files = (
        plain_file(folder, session_id),
        encrypted_file(folder, session_id),
        label_file(folder, session_id),
        *unfinished_files(folder, session_id),
    )
    return [path for path in files if path.exists()]


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


def open_private(path: Path, flags: int) -> int:
    """Open a file that belongs to whom its folder does, also when root makes it: the service must get on with it."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor
