"""Whether anybody but the service can read its keys and its state: asked at every start, before anything is opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bastion.ca.keys import is_private
from bastion.config.model import Config
from bastion.errors import KeyFileError
from bastion.runtime.files import check_private_file, check_private_folder


def check_modes(config: Config) -> None:
    """Raise KeyFileError that lists every file and folder open to others, with the commands that mend them."""
    found = list(_errors(config))
    if found:
        raise KeyFileError(
            "\n".join(error.message for error in found),
            hint="\n".join(error.hint for error in found if error.hint),
        )


def _errors(config: Config) -> Iterator[KeyFileError]:
    folders = [config.data, config.keys_folder]
    if config.recordings_folder.exists():  # the recorder makes it when it starts
        folders.append(config.recordings_folder)
    if missing := [folder for folder in folders if not folder.exists()]:
        yield KeyFileError(f"{missing[0]} does not exist.", hint="Run `bastion init` first.")
        return
    for folder in folders:
        try:
            check_private_folder(folder)
        except KeyFileError as error:
            yield error
    for file in _private_files(config):
        try:
            check_private_file(file)
        except KeyFileError as error:
            yield error


def _private_files(config: Config) -> Iterator[Path]:
    yield from sorted(config.data.glob(f"{config.state_file.name}*"))  # with -wal and -shm
    yield from sorted(file for file in config.keys_folder.iterdir() if is_private(file))
    for target in config.targets:
        yield from target.private_files
    yield from (
        issuer.client_secret_file for issuer in config.issuers if issuer.client_secret_file is not None
    )
