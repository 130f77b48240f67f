"""The target picker on a byte terminal: a list with type-to-filter, or a numbered list where the cursor cannot move.

Written by hand, on a `Terminal`, because many run in one process and the session reads on from where the picker
stopped. prompt_toolkit installs a SIGWINCH handler for each of its applications, which overlapping ones leave behind,
and its key parser can be made to eat the memory of the server (see recorder.terminal.keyboard). Here one task reads
and one draws; a client that reads slowly misses frames in between, not keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from bastion.ssh.picker_list import Choice, Left, PickerList
from bastion.ssh.picker_match import Entry
from bastion.ssh.picker_numbered import pick_by_number
from bastion.ssh.picker_view import ENTER_SCREEN, LEAVE_SCREEN, Frame, View, paint
from recorder.terminal import Terminal, size_of
from recorder.terminal.abilities import abilities_of
from recorder.terminal.keyboard import Key, KeyDecoder, read_keys
from recorder.terminal.screen import leaving_clean

__all__ = ["Choice", "Entry", "pick"]


async def pick(
    terminal: Terminal,
    entries: Sequence[Entry],
    *,
    heading: str,
    notice: str = "",
    ssh_command: str = "ssh -t bastion",
    is_inside: bool = False,
    newer: Callable[[], Awaitable[Sequence[Entry]]] | None = None,
) -> Choice | None:
    """Let the person pick an entry and a login; None when they leave, or their input or terminal ends.

    *notice* is shown until the picker closes (why the last session ended, say). *ssh_command* is shown before
    `login@target` as the command to copy; *is_inside* a target, leaving is going back. Bytes that came after the last
    key used are in `Choice.typed_ahead`; nothing else has been read. Cancelling restores the screen, within a second,
    and leaves no task behind. *newer* is awaited again and again for the entries as they are by then.
    """
    look = abilities_of(terminal.term)
    if look is None:
        return await pick_by_number(
            terminal,
            entries,
            heading=heading,
            notice=notice,
            ssh_command="" if is_inside else ssh_command,
        )
    state = PickerList(entries)
    view = View(state, look, heading=heading, notice=notice, ssh_command=ssh_command, is_inside=is_inside)
    return await _Picker(terminal, state, view, newer).run()


class _Picker:
    """One open picker: reading changes the state, drawing shows what it is by then."""

    def __init__(
        self,
        terminal: Terminal,
        state: PickerList,
        view: View,
        newer: Callable[[], Awaitable[Sequence[Entry]]] | None,
    ) -> None:
        self._terminal = terminal
        self._newer = newer
        self._state = state
        self._view = view
        self._keys = KeyDecoder()
        self._changed = asyncio.Event()
        self._frame: Frame | None = None

    async def run(self) -> Choice | None:
        choice: Choice | None = None
        try:
            async with leaving_clean(self._terminal, resized=self._redraw_all, leave=lambda: LEAVE_SCREEN):
                await self._terminal.write(ENTER_SCREEN)
                choice = await self._read_and_draw()
        except* OSError:
            choice = None  # the terminal is gone, and whoever might have gone on with it
        return choice

    async def _read_and_draw(self) -> Choice | None:
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._draw()), tasks.create_task(self._renew())]
            choice = await self._read()
            for task in beside:
                task.cancel()
        return choice

    async def _read(self) -> Choice | None:
        """Feed the list with keys until it decides; every key is used before the next read begins."""
        while (data := await read_keys(self._terminal, self._keys)) != b"":
            for key, end in self._keys.decode(data):
                decision = self._state.press(key)
                if key is Key.REDRAW:
                    self._frame = None
                self._changed.set()
                if isinstance(decision, Choice):
                    return replace(decision, typed_ahead=data[end:] if data else b"")
                if decision is Left.LEFT:
                    return None
        return None

    async def _draw(self) -> None:
        self._changed.set()
        while await self._changed.wait():
            self._changed.clear()
            frame, last = self._view.frame(*size_of(self._terminal)), self._frame
            self._frame = frame  # before the write: a resize during it asks for all of the next frame
            await self._terminal.write(paint(last, frame))

    async def _renew(self) -> None:
        while self._newer is not None:
            if self._state.renew(await self._newer()):
                self._view.measure()
                self._changed.set()

    def _redraw_all(self) -> None:
        self._frame = None
        self._changed.set()
