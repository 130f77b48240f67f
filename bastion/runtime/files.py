"""Files that nobody but the service may read: written whole or not at all, and refused when others can read them.

Knows paths, modes and owners; nothing about what stands in the files.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from bastion.errors import KeyFileError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def create_file(path: Path, content: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Create *path* with *content*; raises FileExistsError if it is there already, and then changes nothing."""
    temporary = _write_beside(path, content, mode)
    try:
        os.link(temporary, path)  # unlike rename, link never replaces
    finally:
        temporary.unlink()
    _sync_folder(path.parent)


def replace_file(path: Path, content: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Put *content* in the place of *path*: a reader sees the old file or the new one, never a part of one."""
    temporary = _write_beside(path, content, mode)
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise
    _sync_folder(path.parent)


def read_private(path: Path) -> bytes:
    """The content of a private file; raises KeyFileError when it is missing, or open to others."""
    try:
        with path.open("rb") as file:
            _check(path, os.fstat(file.fileno()), PRIVATE_FILE)  # the open file, so that it cannot be swapped
            return file.read()
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}.") from error


def check_private_file(path: Path) -> None:
    """Raise KeyFileError, with the command that mends it, when *path* is open to others or somebody else's."""
    _check(path, _stat(path), PRIVATE_FILE)


def check_private_folder(path: Path) -> None:
    """The same for a folder."""
    _check(path, _stat(path), PRIVATE_FOLDER)


def make_private_folder(path: Path) -> bool:
    """Make *path* a folder of ours alone; true when it is new, KeyFileError when the one there is open to others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=PRIVATE_FOLDER)
    except FileExistsError:
        check_private_folder(path)
        return False
    _give_to_owner_of(path.parent, path)
    return True


def _write_beside(path: Path, content: bytes, mode: int) -> Path:
    """Write *content* to a new file in the folder of *path*, so that a link or rename cannot cross file systems."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)  # of a process of this number that was killed
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask is
            _give_to_owner_of(path.parent, temporary)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink()
        raise
    return temporary


def _give_to_owner_of(folder: Path, path: Path) -> None:
    """When root works in the service's folder, what it makes there must stay readable for the service."""
    if os.geteuid() == 0 and (owner := folder.stat()).st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}.") from error


def _check(path: Path, found: os.stat_result, wanted: int) -> None:
    me = os.geteuid()
    # Root may do what the service may: its files belong to whom the folder belongs to.
    if found.st_uid not in (me, 0) and not (me == 0 and found.st_uid == path.parent.stat().st_uid):
        raise KeyFileError(
            f"{path} belongs to another user (uid {found.st_uid}, we run as {me}).",
            hint=f"If it is meant for this service: chown {me} {shlex.quote(str(path))}",
        )
    if found.st_mode & _OTHERS:
        raise KeyFileError(
            f"{path} can be used by others: its mode is {stat.S_IMODE(found.st_mode):04o},"
            f" it must be {wanted:04o}.",
            hint=f"chmod {wanted:o} {shlex.quote(str(path))}",
        )
