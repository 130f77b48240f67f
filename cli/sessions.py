"""`bastion sessions`: which sessions were recorded."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from bastion.runtime.moments import parse_moment
from bastion.ssh.session_table import as_record, table
from cli.output import is_coloured, json_option, print_json
from cli.settings import Settings, pass_settings
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
    limit: int | None,
    as_json: bool,
) -> None:
    """List recorded sessions, the newest first.

    Who, on which target and as whom, when, how long, and how it ended.
    """
    wanted = limit if limit is not None or as_json else _USUAL_LIMIT
    # What is live is only known after a look at each file, so the limit comes last.
    narrow = Filter(user=user, target=target, since=since, ending=LIVE if live_only else None)
    found = asyncio.run(read_sessions(settings.config.recordings_folder, narrow))
    if live_only:
        found = [row for row in found if row.ending == LIVE]
    shown = found[:wanted]
    if as_json:
        print_json([{**as_record(row), "recording": row.path} for row in shown])
        return
    _print(shown)
    if len(found) > len(shown) and limit is None:
        click.echo(f"The newest {len(shown)} of {len(found):,}; --limit shows more.", err=True)


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
        replace(row, ending="not sealed") if row.ending == LIVE and not _runs(row.path) else row
        for row in rows
    ]


async def open_index(folder: Path) -> Index:
    """The index of *folder*, to read."""
    if not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        raise RecorderError(
            f"The folder of recordings {folder} is not there, or you may not read it.",
            hint="Run this as the user of the service (sudo -u), or name the right configuration with --config.",
        )
    return await Index.open_read(folder)


def _runs(path: Path) -> bool:
    try:
        return is_live(path)
    except FileNotFoundError:
        return False
