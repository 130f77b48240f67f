"""`bastion backup`: copy all that must not be lost, while the bastion runs."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.filesize import decimal

from bastion.ops.backup import Backup, back_up
from bastion.state.store import State
from cli.output import clean, json_option, print_json
from cli.progress import progress_bar
from cli.sessions import require_folder
from cli.settings import Settings, pass_settings
from cli.state import operator, with_state


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@json_option
@pass_settings
def backup(settings: Settings, folder: Path, as_json: bool) -> None:
    """Copy state, keys, configuration and recordings to FOLDER, which is as secret as they are.

    The bastion may run. In a folder that holds an earlier backup only new recordings are copied. To restore, put the
    folder back as the data folder: docs/ops.md tells how.
    """
    require_folder(settings.config.recordings_folder)
    done = with_state(settings, lambda state: _back_up(settings, state, folder, is_quiet=as_json))
    if as_json:
        print_json(done)
        return
    click.echo(
        f"Copied {done.recordings:,} recordings, {decimal(done.bytes)}, with state and keys to"
        f" {clean(str(done.folder))}; {done.kept:,} were there already."
    )


async def _back_up(settings: Settings, state: State, folder: Path, *, is_quiet: bool) -> Backup:
    with progress_bar("Copying", None, is_quiet=is_quiet) as tell:
        done = await back_up(
            settings.config,
            settings.path,
            state,
            folder,
            now=time.time(),
            progress=tell,
        )
    await state.audit.record(
        "backup.made", user=operator(), folder=str(done.folder), recordings=done.recordings, bytes=done.bytes
    )
    return done
