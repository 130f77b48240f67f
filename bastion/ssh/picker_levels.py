"""The picker inside a target: from a level to the next, until what was picked has no further one.

It knows nothing of databases and pods: whoever opens it gives an `ask`, which says what there is below a path. A
level with a single place is not shown. Esc goes back, from the first level to the list of targets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from bastion.connectors.levels import Level, Place
from bastion.errors import BastionError, TargetError
from bastion.ssh.picker import Entry, pick
from recorder.terminal import Terminal
from recorder.terminal.text import plain

_PATIENCE = 0.3
"""Seconds after which a person is told what they wait for."""


class Unreading(Terminal, Protocol):
    """A terminal that takes keys back, for whoever reads next."""

    def unread(self, data: bytes) -> None: ...


async def pick_inside(
    terminal: Unreading,
    ask: Callable[[str], Awaitable[Level | None]],
    *,
    address: str,
    heading: str,
    ssh_command: str,
    start: str = "",
) -> str | None:
    """Let the person go into the target at *address* (`login@target`); the path they picked, or None to go back.

    `ask(path)` gives the level below *path* (*start* for the first), and None where there is none: the path is whole.
    It may take its time, and raise BastionError, which is raised here. Raises TargetError for a level without a place.
    """
    shown: list[Level] = []
    path = start
    while (level := await _asked(terminal, ask(path), f"{address}/{path}".rstrip("/"))) is not None:
        if not level.places:
            raise TargetError(f"there is no {level.kind} in {f'{address}/{path}'.rstrip('/')}")
        if len(level.places) == 1:
            path = level.places[0].path
            continue
        shown.append(level)
        place = None
        while shown and place is None:
            place = await _picked(terminal, shown[-1], address, heading, ssh_command)
            if place is None:
                shown.pop()
        if place is None:
            return None
        path = place.path
    return path


async def _asked(terminal: Terminal, asking: Awaitable[Level | None], what: str) -> Level | None:
    """The answer; a person who waits for it is told so."""
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_level_or_error(asking))
        await asyncio.wait([asked], timeout=_PATIENCE)
        if not asked.done():
            await terminal.write(f"bastion: asking what there is in {plain(what)}\r\n".encode())
    answer = asked.result()
    if isinstance(answer, BastionError):
        raise answer
    return answer


async def _level_or_error(asking: Awaitable[Level | None]) -> Level | BastionError | None:
    """Turn expected errors into values, which a TaskGroup does not wrap."""
    try:
        return await asking
    except BastionError as error:
        return error


async def _picked(
    terminal: Unreading, level: Level, address: str, heading: str, ssh_command: str
) -> Place | None:
    entries = {
        place.path: Entry(
            name=place.name,
            kind=level.kind,
            description=place.description,
            address=f"{address}/{place.path}",
        )
        for place in level.places
    }
    choice = await pick(
        terminal,
        list(entries.values()),
        heading=f"{heading}: choose a {level.kind}",
        ssh_command=ssh_command,
        is_inside=True,
    )
    if choice is None:
        return None
    terminal.unread(choice.typed_ahead)
    return next(place for place in level.places if entries[place.path] is choice.entry)
