"""`bastion follow`: watch a session while it runs."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from cli.play import admit
from cli.settings import Settings, pass_settings
from cli.terminal import local_terminal
from recorder.follow import follow as follow_recording
from recorder.follow import followed_text
from recorder.screen_filter import ScreenFilter


@click.command()
@click.argument("session", metavar="ID")
@pass_settings
def follow(settings: Settings, session: str) -> None:
    """Watch the session ID as it runs, from its first byte; q leaves.

    The session is not slowed, and the person in it is not told. A session that has ended is shown to its end.
    """
    row = admit(settings, session, "recording.followed")
    if sys.stdin.isatty() and sys.stdout.isatty():
        asyncio.run(_follow(row.path))
    else:
        asyncio.run(_print(row.path))


async def _follow(path: Path) -> None:
    with local_terminal(os.environ.get("TERM", "")) as terminal:
        await follow_recording(path, terminal)


async def _print(path: Path) -> None:
    async for text in followed_text(path, ScreenFilter()):
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
