"""Copies all that a bastion must not lose into a folder, while it runs: a data folder that can be put back as it is.

Recordings do not change once they are sealed, so a second backup into the same folder copies only what is new; one that
was plain in the last backup and is encrypted now is exchanged. The order matters: what may be behind is copied first. A
recording that is sealed after the chain of seals was copied gets its entry when the restored bastion starts; a key that
is made after the state was copied does no harm.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bastion.config.load import TARGETS_FOLDER
from bastion.config.model import Config
from bastion.errors import BackupError
from bastion.runtime.files import make_private_folder, replace_file
from bastion.state.store import State
from recorder.catalog import recordings
from recorder.folder import encrypted_file, files_of, make_folders, plain_file
from recorder.names import SessionId, id_in
from recorder.removal import only_remover
from recorder.seals import FILE as SEALS

MARK = "backup.json"
"""Stands in a folder that is a backup, and says when it was last whole."""
CONFIG = "config"

Progress = Callable[[int, int], None]
"""Called with the bytes of recordings that are copied, and of all that are to be copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What was copied: *recordings* of them with *bytes* bytes; *kept* were there already."""

    folder: Path
    recordings: int
    bytes: int
    kept: int


async def back_up(
    config: Config, config_file: Path, state: State, to: Path, *, now: float, progress: Progress
) -> Backup:
    """Copy the state, the keys, the configuration, the chain of seals and the recordings to *to*.

    BackupError when *to* is no place for it. Retention removes nothing meanwhile.
    """
    to = to.absolute()
    _check_place(config, to)
    with only_remover(config.recordings_folder) as is_ours:
        if not is_ours:
            raise BackupError(
                "Another process is removing or backing up recordings.", hint="Try again when it is done."
            )
        make_private_folder(to)
        _mark(to, None)
        await _copy_state(state, to)
        await asyncio.to_thread(_copy_keys, config, config_file, to)
        done = await asyncio.to_thread(_copy_recordings, config.recordings_folder, to, progress)
        await asyncio.to_thread(
            os.sync
        )  # the names of all those files, before it is said that they are there
        _mark(to, now)
    return done


def _check_place(config: Config, to: Path) -> None:
    place = to.resolve()
    for ours in (config.data.resolve(), config.recordings_folder.resolve()):
        if place == ours or ours in place.parents:
            raise BackupError(
                f"{to} lies in {ours}, which is to be backed up.", hint="Name a folder elsewhere."
            )
    if not to.exists():
        return
    if not to.is_dir():
        raise BackupError(f"{to} is not a folder.")
    if any(to.iterdir()) and not (to / MARK).is_file():
        raise BackupError(
            f"{to} holds something that is no backup of a bastion.", hint="Name a new or an empty folder."
        )


def _mark(to: Path, finished: float | None) -> None:
    moment = None if finished is None else datetime.fromtimestamp(finished, UTC).isoformat()
    replace_file(to / MARK, json.dumps({"finished_at": moment}).encode() + b"\n")


async def _copy_state(state: State, to: Path) -> None:
    temporary = to / ".state.db.new"
    temporary.unlink(missing_ok=True)
    await state.copy_to(temporary)
    for stale in ("state.db-wal", "state.db-shm"):  # of somebody who looked into the last one
        (to / stale).unlink(missing_ok=True)
    temporary.replace(to / "state.db")


def _copy_keys(config: Config, config_file: Path, to: Path) -> None:
    make_private_folder(to / "keys")
    for file in sorted(config.keys_folder.iterdir()):
        if file.is_file():
            _copy(file, to / "keys" / file.name, mode=file.stat().st_mode & 0o777)
    make_private_folder(to / CONFIG)
    _copy(config_file, to / CONFIG / "bastion.toml")
    shutil.rmtree(to / CONFIG / TARGETS_FOLDER, ignore_errors=True)  # targets that were removed stay removed
    for file in sorted((config_file.parent / TARGETS_FOLDER).glob("*.toml")):
        make_private_folder(to / CONFIG / TARGETS_FOLDER)
        _copy(file, to / CONFIG / TARGETS_FOLDER / file.name)


def _copy_recordings(folder: Path, to: Path, progress: Progress) -> Backup:
    target = to / "recordings"
    make_private_folder(target)
    if (folder / SEALS).exists():
        _copy(folder / SEALS, target / SEALS)
    everything = [SessionId(id_in(path)) for path in recordings(folder)]
    new = {
        session_id: size for session_id in everything if (size := _size_to_copy(folder, target, session_id))
    }
    total, done = sum(new.values()), 0
    for session_id, size in new.items():
        _copy_recording(folder, target, session_id)
        done += size
        progress(done, total)
    return Backup(folder=to, recordings=len(new), bytes=done, kept=len(everything) - len(new))


def _copy_recording(folder: Path, target: Path, session_id: SessionId) -> None:
    try:
        _copy_files(folder, target, session_id)
    except FileNotFoundError:  # it has been encrypted since it was listed, which it is only once
        _copy_files(folder, target, session_id)
    if not plain_file(folder, session_id).exists() and encrypted_file(target, session_id).exists():
        plain_file(target, session_id).unlink(missing_ok=True)


def _copy_files(folder: Path, target: Path, session_id: SessionId) -> None:
    for file in files_of(folder, session_id):
        copy = target / file.relative_to(folder)
        make_folders(copy.parent, target, is_durable=False)
        _copy(file, copy)


def _size_to_copy(folder: Path, target: Path, session_id: SessionId) -> int:
    """How many bytes there are of a recording that the backup does not have; 0 when it has all."""
    try:
        sizes = {file: file.stat().st_size for file in files_of(folder, session_id)}
    except FileNotFoundError:  # it is just being encrypted
        sizes = {file: file.stat().st_size for file in files_of(folder, session_id)}
    copies = {file: target / file.relative_to(folder) for file in sizes}
    is_there = all(copy.exists() and copy.stat().st_size == sizes[file] for file, copy in copies.items())
    return 0 if is_there else sum(sizes.values())


def _copy(file: Path, to: Path, *, mode: int = 0o600) -> None:
    """Copy *file* as a whole, on the disk before it has its name."""
    temporary = to.with_name(f".{to.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with file.open("rb") as source, os.fdopen(descriptor, "wb") as copy:
        os.fchmod(descriptor, mode)
        shutil.copyfileobj(source, copy, 1024 * 1024)
        copy.flush()
        os.fsync(descriptor)
    temporary.replace(to)
