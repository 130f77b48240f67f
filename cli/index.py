"""`bastion index`: make the index of recordings and that of their text anew. Both are derived, and lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import click

from cli.identity import identities_in, identity_option
from cli.output import clean, json_option, print_json
from cli.progress import progress_bar
from cli.sessions import open_index
from cli.settings import Settings, pass_settings
from recorder.catalog import LIVE, SessionRow
from recorder.index import Broken, Filter
from recorder.index import rebuild as rebuild_index
from recorder.search_feed import forget_text, rebuild_text
from recorder.seek_feed import rebuild_points


@click.group()
def index() -> None:
    """Rebuild the index of recordings. Whatever it holds stands in the recordings as well."""


@index.command("rebuild")
@identity_option
@json_option
@pass_settings
def rebuild(settings: Settings, identity_files: tuple[Path, ...], as_json: bool) -> int:
    """Make the index of sessions anew from the recordings, that of their text, and the player's key points.

    A running bastion may go on meanwhile. Of encrypted recordings there is text only with search_encrypted = true, and
    it is made anew only with an identity; without one what there was stays. Exits with 1 if there are files that are no
    recordings.
    """
    folder = settings.config.recordings_folder
    broken, rows = asyncio.run(_sessions(folder))
    identities = identities_in(identity_files)
    _show("Finding key points", rebuild_points(folder, rows, identities), rows, is_quiet=as_json)
    if settings.config.recording.search:
        keeps_encrypted = settings.config.recording.search_encrypted
        done = rebuild_text(folder, rows, keeps_encrypted=keeps_encrypted, identities=identities)
        _show("Indexing", done, rows, is_quiet=as_json)
    else:
        forget_text(folder)
    if as_json:
        print_json(
            {
                "sessions": len(rows),
                "is_searchable": settings.config.recording.search,
                "broken": [{"file": path, "reason": error.message} for path, error in broken],
            }
        )
        return 1 if broken else 0
    for path, error in broken:
        click.echo(f"{clean(str(path))} is no recording: {clean(error.message)}", err=True)
    what = (
        "and their text"
        if settings.config.recording.search
        else "without their text ([recording] search = false)"
    )
    click.echo(f"The index holds {len(rows):,} ended sessions {what}.")
    return 1 if broken else 0


async def _sessions(folder: Path) -> tuple[Broken, list[SessionRow]]:
    await (await open_index(folder)).close()  # which says so when there is no folder to index
    broken = await rebuild_index(folder)
    index = await open_index(folder)
    try:
        return broken, [row for row in await index.list(Filter()) if row.ending != LIVE]
    finally:
        await index.close()


def _show(what: str, done: Iterable[SessionRow], rows: list[SessionRow], *, is_quiet: bool) -> None:
    """Have *rows* *done*, with a bar that goes by bytes: sessions differ too much to be counted."""
    entered, total = 0, sum(row.output_bytes + row.input_bytes for row in rows)
    with progress_bar(what, max(total, 1), is_quiet=is_quiet) as tell:
        for row in done:
            entered += row.output_bytes + row.input_bytes
            tell(entered, None)
