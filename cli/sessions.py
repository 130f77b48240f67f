"""`bastion sessions`: which sessions were recorded."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import click

from bastion.ops.retention import held_by
from bastion.runtime.moments import parse_moment
from bastion.ssh.session_table import as_record, table
from bastion.state.holds import Hold
from cli.output import clean, is_coloured, json_option, print_json
from cli.removed import print_removed, read_removed
from cli.settings import Settings, pass_settings
from cli.state import with_state
from recorder.catalog import LIVE, SessionRow, is_live
from recorder.errors import RecorderError
from recorder.index import Filter, Index

_USUAL_LIMIT = 50


def to_moment(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """A click callback: Unix seconds from an age or a date."""
    try:
        return None if text is None else parse_moment(text, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--user", help="Only sessions of this user.")
@click.option("--target", help="Only sessions on this target.")
@click.option(
    "--since", callback=to_moment, help="Only what started since: an age (2h, 7d) or a date (2026-11-24)."
)
@click.option("--live", "live_only", is_flag=True, help="Only sessions that run now.")
@click.option("--held", "held_only", is_flag=True, help="Only what a legal hold keeps from being removed.")
@click.option("--removed", "is_removed", is_flag=True, help="What is known of recordings that were removed.")
@click.option(
    "--limit", type=click.IntRange(min=1), help=f"The newest so many; by default {_USUAL_LIMIT}, in JSON all."
)
@json_option
@pass_settings
def sessions(
    settings: Settings,
    user: str | None,
    target: str | None,
    since: float | None,
    live_only: bool,
    held_only: bool,
    is_removed: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """List recorded sessions, the newest first.

    Who, on which target and as whom, when, how long, and how it ended.
    """
    if is_removed:
        if live_only or held_only:
            raise click.UsageError("What was removed is neither live nor held: leave --live and --held out.")
        fitting = (
            entry
            for entry in read_removed(settings.config)
            if user in (None, entry.user)
            and target in (None, entry.target)
            and (since is None or (entry.started_at or 0.0) >= since)
        )
        print_removed(list(islice(fitting, limit)), as_json=as_json)
        return
    wanted = limit if limit is not None or as_json else _USUAL_LIMIT
    # What is live is only known after a look at each file, so the limit comes last.
    narrow = Filter(user=user, target=target, since=since, ending=LIVE if live_only else None)
    found = asyncio.run(read_sessions(settings.config.recordings_folder, narrow))
    if live_only:
        found = [row for row in found if row.ending == LIVE]
    holds = _holds(settings)
    if held_only:
        found = [row for row in found if held_by(holds, row)]
    shown = found[:wanted]
    if as_json:
        print_json(
            [{**as_record(row), "recording": row.path, "hold": held_by(holds, row) or None} for row in shown]
        )
        return
    _print(shown)
    for row in shown:
        if held := held_by(holds, row):
            click.echo(f"{row.id} is kept by {clean(held)}", err=True)
    if len(found) > len(shown) and limit is None:
        click.echo(f"The newest {len(shown)} of {len(found):,}; --limit shows more.", err=True)


def _holds(settings: Settings) -> list[Hold]:
    """The holds in force; none where there is no state, as in a folder of recordings that was copied."""
    if not settings.config.state_file.exists():
        return []
    return with_state(settings, lambda state: state.holds.list())


def _print(rows: list[SessionRow]) -> None:
    if not rows:
        click.echo("No session was recorded that fits.", err=True)
        return
    # A pipe gets every column, uncut.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
    click.echo(
        table(rows, width=width, now=time.time(), colour=is_coloured(sys.stdout)),
        nl=False,
        color=True,
    )


async def read_sessions(folder: Path, narrow: Filter) -> list[SessionRow]:
    """The sessions in *folder* that pass *narrow*; those whose server died and is not back yet are "not sealed"."""
    index = await open_index(folder)
    try:
        rows = await index.list(narrow)
    finally:
        await index.close()
    return [
        replace(row, ending="not sealed") if row.ending == LIVE and not is_live(row.path) else row
        for row in rows
    ]


async def open_index(folder: Path) -> Index:
    """The index of *folder*, to read."""
    require_folder(folder)
    return await Index.open_read(folder)


def require_folder(folder: Path) -> None:
    """RecorderError when there is no folder of recordings, or somebody else's."""
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        raise RecorderError(
            f"The folder of recordings {folder} is not there, or you may not read it.",
            hint="Run this as the user of the service (sudo -u), or name the right configuration with --config.",
        )
