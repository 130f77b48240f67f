"""Winds a recording to any moment and shows it from there, on the viewer's own terminal.

A seek begins at a key point and shows what follows up to the moment, so that the terminal itself draws what it would
have drawn from the start. The tape is read in threads: a disk may take its time. Knows neither keys nor pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from recorder.disk import reading
from recorder.errors import FormatError
from recorder.events import ErrorOutput, Output
from recorder.playback import Tape
from recorder.player_points import PlayerPoints
from recorder.player_stage import Stage
from recorder.reader import Entry
from recorder.seek_points import Leg
from recorder.terminal import Terminal, size_of

_PIECE_CHARACTERS = 64 * 1024
_PIECE_ENTRIES = 512
_WORTH_A_JUMP = 128 * 1024
"""Bytes of the recording that are rather shown than jumped over."""


class Reel:
    """Shows what stands on *tape* on *stage*, which *terminal* is; *points* are the key points."""

    def __init__(self, tape: Tape, stage: Stage, terminal: Terminal, points: PlayerPoints) -> None:
        self.shown = 0.0
        """The time of the last entry that was shown."""
        self.is_spoilt = True
        """Something stands on the recorded screen that is not of the recording, or nothing yet."""
        self._tape = tape
        self._stage = stage
        self._terminal = terminal
        self._points = points

    @property
    def head(self) -> Entry | None:
        """What comes next."""
        return self._tape.head

    async def wind(self, goal: float, is_wanted: Callable[[], bool]) -> bool:
        """Show the screen as it was at *goal*; false when that was not *is_wanted* any more on the way."""
        legs = self._points.legs(goal)
        is_jump = self.is_spoilt or goal < self.shown or self._is_far(legs)
        if is_jump and not await self._begin(legs, is_wanted):
            return False
        while (head := self._tape.head) and head.time <= goal:
            await self.show(goal)
            await asyncio.sleep(0)  # a terminal that takes everything must not keep the others waiting
            if not is_wanted():
                self.is_spoilt = self.is_spoilt or is_jump  # what is above may not be drawn yet
                return False
        return True

    def _is_far(self, legs: list[Leg]) -> bool:
        return bool(legs) and legs[-1].point.offset > self._tape.offset + _WORTH_A_JUMP

    async def _begin(self, legs: list[Leg], is_wanted: Callable[[], bool]) -> bool:
        """Clear the screen, and show what must be shown before the last key point."""
        self.is_spoilt = False
        await self._clear()
        try:
            for leg in legs:
                await self._enter(leg)
                while leg.until is not None and self._tape.head and self._tape.offset < leg.until:
                    await self.show(float("inf"), before=leg.until)
                    await asyncio.sleep(0)
                    if not is_wanted():
                        self.is_spoilt = True
                        return False
        except FormatError:  # key points of another file: from the start, then
            legs = []
            await self._clear()
        if not legs:
            await reading(self._tape.rewind)
            self.shown = 0.0
        return True

    async def _clear(self) -> None:
        silent = self._points.silent
        begun = self._stage.begin(size_of(self._terminal))
        await self.write(begun + (self._stage.notice(silent) if silent else ""))

    async def _enter(self, leg: Leg) -> None:
        if (note := self._points.note_before(leg.point.offset)) is not None:
            self._stage.note = await reading(self._tape.text_of, note)
        await reading(self._tape.go_to, leg.point)
        self.shown = leg.point.time
        if leg.point.line > 1:
            await self.write(self._stage.enter(leg.point))

    async def show(self, until: float, *, at_least_one: bool = False, before: int | None = None) -> bool:
        """Write a piece of what happened up to *until*, and begins *before* that offset; whether there was any."""

        def is_shown(head: Entry, entries: int) -> bool:
            is_early = head.time <= until or (at_least_one and not entries)
            return is_early and (before is None or self._tape.offset < before)

        return await self._show_while(is_shown)

    async def step(self) -> None:
        """Show what comes next, up to and with the next output."""
        has_output = False

        def is_shown(head: Entry, _: int) -> bool:
            nonlocal has_output
            had_output = has_output
            has_output = had_output or isinstance(head.event, Output | ErrorOutput)
            return not had_output

        while not has_output and await self._show_while(is_shown):
            pass

    async def _show_while(self, is_shown: Callable[[Entry, int], bool]) -> bool:
        """Write a piece of what comes next while it *is_shown*, which is told how many came before in the piece."""
        text, entries = await reading(self._taken, is_shown)
        await self.write(text)
        return entries > 0

    def _taken(self, is_shown: Callable[[Entry, int], bool]) -> tuple[str, int]:
        pieces, characters, entries = [], 0, 0
        while (head := self._tape.head) and characters < _PIECE_CHARACTERS and entries < _PIECE_ENTRIES:
            if not is_shown(head, entries):
                break
            pieces.append(self._stage.show(self._tape.take()))
            characters += len(pieces[-1])
            entries += 1
            self.shown = head.time
        return "".join(pieces), entries

    async def write(self, text: str) -> None:
        if text:
            await self._terminal.write(text.encode("utf-8", "replace"))
