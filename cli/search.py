"""`bastion search`: find the sessions that showed a text, or had it typed in.

Each search is an audit event that says who looked for what, and is refused when it cannot be written.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys

import click

from bastion.ssh.search_results import as_search_record, results_text
from cli.output import is_coloured, json_option, print_json
from cli.sessions import open_index, to_moment
from cli.settings import Settings, pass_settings
from cli.state import operator, with_state
from recorder.index import Filter
from recorder.search import Found, Query, unsearchable, unsearchable_text
from recorder.search import search as search_recordings
from recorder.search_lines import Part

_PLAY = "bastion play"


@click.command()
@click.argument("words", metavar="TEXT", nargs=-1, required=True)
@click.option("--user", help="Only sessions of this user.")
@click.option("--group", help="Only sessions of members of this group.")
@click.option("--target", help="Only sessions on this target.")
@click.option("--kind", help="Only sessions of this kind (ssh, postgres, kubernetes).")
@click.option(
    "--since", callback=to_moment, help="Only what started since: an age (2h, 7d) or a date (2026-11-24)."
)
@click.option("--until", callback=to_moment, help="Only what started before: the same.")
@click.option("--ending", help="Only what ended so (exited, killed, revoked, …).")
@click.option("--exit-status", type=int, help="Only what exited with this status.")
@click.option(
    "--input", "part", flag_value="input", help="Only in what was typed or piped in, and in commands."
)
@click.option("--sql", "part", flag_value="sql", help="Only in statements to databases.")
@click.option("--request", "part", flag_value="request", help="Only in requests to Kubernetes APIs.")
@click.option(
    "--connection", "part", flag_value="connection", help="Only in connections that were forwarded."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many sessions."
)
@click.option(
    "--hits", type=click.IntRange(min=1), default=3, show_default=True, help="So many hits of each."
)
@json_option
@pass_settings
def search(
    settings: Settings,
    words: tuple[str, ...],
    user: str | None,
    group: str | None,
    target: str | None,
    kind: str | None,
    since: float | None,
    until: float | None,
    ending: str | None,
    exit_status: int | None,
    part: Part | None,
    limit: int,
    hits: int,
    as_json: bool,
) -> int:
    """Find the sessions that showed TEXT or had it typed in, the newest first.

    TEXT is taken as it is, but for capitals; it may be a part of a word. Escape sequences are left out, overwritten
    lines count as far as they could be read. Sessions that still run are not searched. Exits with 1 if nothing is
    found.
    """
    narrow = Filter(
        user=user, group=group, target=target, kind=kind, ending=ending, exit_status=exit_status, since=since,
        until=until, limit=limit,
    )  # fmt: skip
    query = Query(text=" ".join(words), part=part, narrow=narrow, most_hits=hits)
    _note(settings, query)
    found = asyncio.run(_search(settings, query, prints=not as_json))
    if as_json:
        print_json([{**as_search_record(one), "recording": one.row.path} for one in found])
    elif not found:
        click.echo("Nothing was found.", err=True)
    return 0 if found else 1


def _note(settings: Settings, query: Query) -> None:
    """Write down who searches for what."""
    fields = {name: getattr(query.narrow, name) for name in Filter.__dataclass_fields__}
    narrowed = {name: value for name, value in fields.items() if value is not None}
    with_state(
        settings,
        lambda state: state.audit.record(
            "recording.searched",
            user=operator(),
            text=query.text,
            part=query.part,
            narrowed=narrowed,
            by="command line",
            uid=os.getuid(),
        ),
    )


async def _search(settings: Settings, query: Query, *, prints: bool) -> list[Found]:
    """What is found; printed as it comes."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 1000
    all_found: list[Found] = []
    index = await open_index(settings.config.recordings_folder)
    try:
        async for found in search_recordings(index, query):
            all_found.append(found)
            if prints:
                text = results_text(found, play=_PLAY, width=width, colour=is_coloured(sys.stdout))
                click.echo(text, nl=False, color=True)
        if closed := await unsearchable(index, query.narrow):
            click.echo(unsearchable_text(closed), nl=False, err=True)
    finally:
        await index.close()
    return all_found
