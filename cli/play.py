"""`bastion play`: replay a recorded session on this terminal.

A replay by id is an audit event that names who looked, and is refused when it cannot be written. A file that is given
by its path is played as it is, wherever it came from: no bastion is involved.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from bastion.runtime.moments import parse_seconds
from cli.identity import identities_in, identity_option
from cli.sessions import open_index
from cli.settings import Settings, pass_settings
from cli.state import operator, with_state
from cli.terminal import local_terminal
from recorder.at_rest import Identity, require_identity
from recorder.catalog import SessionRow
from recorder.playback import shown_text
from recorder.player import Player

_TERMINATED = 128 + 15


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """Seconds from `90`, `1.5` or `1m30s`."""
    if text is None:
        return None
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("recording", metavar="ID|FILE")
@click.option("--speed", type=click.FloatRange(0.1, 1000), default=1.0, help="So many times as fast.")
@click.option("--idle-limit", callback=_seconds, metavar="TIME", help="Shorten pauses to this (2s).")
@click.option("--at", "start", callback=_seconds, metavar="TIME", default="0", help="Begin here (1m30s).")
@click.option(
    "--no-wait", is_flag=True, help="Print all output at once; as is done when stdout is no terminal."
)
@identity_option
@pass_settings
def play(
    settings: Settings,
    recording: str,
    speed: float,
    idle_limit: float | None,
    start: float,
    no_wait: bool,
    identity_files: tuple[Path, ...],
) -> int:
    """Replay the session ID (its first or last characters are enough) or a recording FILE.

    Keys: space pauses, . steps, + and - change the speed, arrows and digits seek, g goes to a time, / looks for a
    text (n and N: the next place, the last one), m and M go to notes of the bastion, q quits, ? shows all.
    Escape sequences that would act on this terminal, other than drawing, are left out.
    """
    path, folder = Path(recording), None
    identities = identities_in(identity_files)
    if "/" not in recording and not path.suffix:
        path = admit(settings, recording, "recording.played", identities).path
        folder = settings.config.recordings_folder
    if no_wait or not (sys.stdin.isatty() and sys.stdout.isatty()):
        _print(path, identities)
        return 0
    try:
        asyncio.run(_play(path, folder, speed, idle_limit, start, identities))
    except asyncio.CancelledError:
        return _TERMINATED
    return 0


def admit(settings: Settings, text: str, event: str, identities: Sequence[Identity] = ()) -> SessionRow:
    """Find the session that *text* names and write the audit *event* that says who looks at it.

    RecorderKeyError when it is encrypted and there are no *identities*: then nobody does.
    """
    row = find(settings, text)
    require_identity(row.path, identities)
    with_state(
        settings,
        lambda state: state.audit.record(
            event,
            user=operator(),
            session=row.id,
            of=row.user,
            target=row.target,
            by="command line",
            uid=os.getuid(),
        ),
    )
    return row


def find(settings: Settings, text: str) -> SessionRow:
    """The one session whose id is *text*, or begins or ends with it."""
    return asyncio.run(_find(settings, text))


async def _find(settings: Settings, text: str) -> SessionRow:
    index = await open_index(settings.config.recordings_folder)
    try:
        return await index.find(text)
    finally:
        await index.close()


def _print(path: Path, identities: Sequence[Identity]) -> None:
    stream = sys.stdout.buffer
    for text in shown_text(path, restores=sys.stdout.isatty(), identities=identities):
        stream.write(text.encode("utf-8", "replace"))
    stream.flush()


async def _play(
    path: Path,
    folder: Path | None,
    speed: float,
    idle_limit: float | None,
    start: float,
    identities: Sequence[Identity],
) -> None:
    with local_terminal(os.environ.get("TERM", "")) as terminal:
        await Player(
            path,
            terminal,
            speed=speed,
            idle_limit=idle_limit,
            start=start,
            folder=folder,
            identities=identities,
        ).run()
