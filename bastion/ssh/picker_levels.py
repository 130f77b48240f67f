"""The picker inside a target: from a level to the next, until what was picked has no further one.

It knows nothing of databases and pods: whoever opens it gives an `ask`, which says what there is below a path. A
level with a single place is not shown. Esc goes back, from the first level to the list of targets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from bastion.connectors.levels import Level
from bastion.errors import BastionError, TargetError
from bastion.ssh.picker import Entry, pick
from recorder.terminal import Terminal
from recorder.terminal.text import plain

_PATIENCE = 0.3
"""Seconds after which a person is told what they wait for."""


_REFRESH = 2.0
"""Seconds between looks for what has changed meanwhile in a level that changes."""
_REST = 10
"""How many times as long as a look takes nobody looks again."""


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
    shown: list[_Shown] = []
    path = start
    while (level := await _asked(terminal, ask(path), f"{address}/{path}".rstrip("/"))) is not None:
        if not level.places:
            raise TargetError(f"there is no {level.kind} in {f'{address}/{path}'.rstrip('/')}")
        if len(level.places) == 1:
            path = level.places[0].path
            continue
        shown.append(_Shown(level, path, ask, address))
        picked = None
        while shown and picked is None:
            picked = await _picked(terminal, shown[-1], heading, ssh_command)
            if picked is None:
                shown.pop()
        if picked is None:
            return None
        path = picked
    return path


class _Shown:
    """A level that somebody looks at, *path* into the target at *address*."""

    def __init__(
        self, level: Level, path: str, ask: Callable[[str], Awaitable[Level | None]], address: str
    ) -> None:
        self.level = level
        self._path = path
        self._ask = ask
        self._address = address
        self._pause = _REFRESH

    @property
    def entries(self) -> list[Entry]:
        return [
            Entry(
                name=place.name,
                kind=self.level.kind,
                description=place.description,
                address=f"{self._address}/{place.path}",
            )
            for place in self.level.places
        ]

    def path_of(self, entry: Entry) -> str:
        return entry.address.removeprefix(f"{self._address}/")

    async def newer(self) -> list[Entry]:
        """The entries as they are a while later; what takes long to find out is asked the less often."""
        await asyncio.sleep(self._pause)
        begun = asyncio.get_running_loop().time()
        level = await _level_or_error(self._ask(self._path))
        self._pause = max(_REFRESH, _REST * (asyncio.get_running_loop().time() - begun))
        if isinstance(level, Level):  # else it is as it was, as far as we know
            self.level = level
        return self.entries


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


async def _picked(terminal: Unreading, shown: _Shown, heading: str, ssh_command: str) -> str | None:
    choice = await pick(
        terminal,
        shown.entries,
        heading=f"{heading}: choose a {shown.level.kind}",
        ssh_command=ssh_command,
        is_inside=True,
        newer=shown.newer if shown.level.changes else None,
    )
    if choice is None:
        return None
    terminal.unread(choice.typed_ahead)
    return shown.path_of(choice.entry)
