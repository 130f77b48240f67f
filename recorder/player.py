"""Replays a recording on a byte terminal, at its own pace and under the viewer's keys.

The recorded screen is drawn by the viewer's terminal itself, through the ScreenFilter. The status line stands below it
where there is room, else only while paused, over the recording. Going back draws everything again from the start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from recorder.at_rest import Identity, open_plain
from recorder.disk import reading
from recorder.events import ErrorOutput, Output
from recorder.playback import DEFAULT_IDLE_LIMIT, Pace, Survey, Tape, survey
from recorder.player_search import JUST_AFTER, Places, places_of
from recorder.player_stage import Stage
from recorder.player_status import Status, clock, too_small, who
from recorder.search_lines import Stopped
from recorder.terminal import Terminal, size_of
from recorder.terminal.abilities import abilities_of
from recorder.terminal.keyboard import Key, KeyDecoder, read_keys
from recorder.terminal.screen import leaving_clean

_PIECE_CHARACTERS = 64 * 1024
_PIECE_ENTRIES = 512
_TICK = 0.25
_NOTICE_SECONDS = 2.0
_LONGEST_TEXT = 200


class Player:
    """Plays the recording at *path* on *terminal*; an encrypted one with *identities*.

    *speed* is recorded seconds per second; pauses longer than *idle_limit* seconds are cut to it (None: not); *start*
    is where to begin, in seconds.
    """

    def __init__(
        self,
        path: Path,
        terminal: Terminal,
        *,
        speed: float = 1.0,
        idle_limit: float | None = None,
        start: float = 0.0,
        identities: Sequence[Identity] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._identities = identities
        self._terminal = terminal
        self._monotonic = monotonic
        self._pace = Pace(monotonic, speed=speed, idle_limit=idle_limit)
        self._start = start

    async def run(self) -> None:
        """Play to the end, or until the viewer quits or their terminal ends. FormatError: it is no recording.

        The terminal is left in order, also when this is cancelled.
        """
        found = await reading(survey, self._path, self._identities)
        with open_plain(self._path, self._identities) as file:
            replay = _Replay(
                self._path, self._identities, found, Tape(file), self._terminal, self._pace, self._monotonic
            )
            await replay.run(self._start)


class _Replay:
    """One replay: reading keys changes what is wanted, playing does it."""

    def __init__(
        self,
        path: Path,
        identities: Sequence[Identity],
        found: Survey,
        tape: Tape,
        terminal: Terminal,
        pace: Pace,
        monotonic: Callable[[], float],
    ) -> None:
        self._path = path
        self._identities = identities
        self._monotonic = monotonic
        self._found = found
        self._tape = tape
        self._terminal = terminal
        self._pace = pace
        self._look = abilities_of(terminal.term)
        self._stage = Stage(found.header, self._look)
        self._usual_idle_limit = pace.idle_limit or DEFAULT_IDLE_LIMIT
        self._changed = asyncio.Event()
        self._goal: float | None = None
        self._shown = 0.0  # the time of the last entry that was shown
        self._is_spoilt = True  # something of ours stands on the recorded screen, or nothing yet
        self._wants_step = False
        self._wants_keys = False
        self._was_paused = False
        self._prompt: str | None = None
        self._wanted: str | None = None  # a text that is to be looked for
        self._places = Places("", ())
        self._marks = Places("note", [time + JUST_AFTER for time in found.markers])
        self._place = ""
        self._is_over = False
        self._last_tick = float("-inf")

    async def run(self, start: float) -> None:
        self._seek(start)
        try:
            async with (
                leaving_clean(self._terminal, resized=self._redraw, leave=self._leave),
                asyncio.TaskGroup() as tasks,
            ):
                keys = tasks.create_task(self._read_keys())
                await self._warn_if_too_small()
                await self._play()
                keys.cancel()
        except* OSError:
            self._is_over = True  # the terminal is gone, and the viewer with it

    def _leave(self) -> bytes:
        fault = f"; it cannot be read on: {self._tape.fault.message}" if self._tape.fault else ""
        text = f"{clock(self._shown)} of {clock(self._found.length)} of {self._found.id} replayed{fault}\r\n"
        return (self._stage.end() + text).encode("utf-8", "replace")

    async def _warn_if_too_small(self) -> None:
        room = size_of(self._terminal)
        size = (self._found.columns, self._found.rows)
        if self._look is None or self._found.header.terminal is None or not too_small(size, room):
            return
        notice = self._stage.notice(
            [
                f"Recorded with up to {size[0]}x{size[1]},",
                f"shown here in {room[0]}x{room[1]}: it will not fit.",
                "Enlarge the terminal if you can.",
            ]
        )
        await self._write(self._stage.begin(room) + notice)
        await self._wait(_NOTICE_SECONDS)

    async def _play(self) -> None:
        while not self._is_over:
            head = self._tape.head
            if self._goal is not None:
                await self._go_to(self._goal)
            elif self._wanted is not None:
                await self._look_for(self._wanted)
            elif self._wants_step:
                await self._step()
            elif head is None and not self._pace.is_paused:
                return
            elif (due := self._pace.due_in(head.time) if head else None) == 0:
                await self._show(self._pace.position, at_least_one=True)
                await self._show_status()
            else:
                await self._show_status()
                await self._wait(None if self._pace.is_paused else min(due or _TICK, _TICK))

    async def _go_to(self, goal: float) -> None:
        """Show the screen as it was at *goal*, unless another goal comes up on the way."""
        if self._is_spoilt or goal < self._shown:
            self._tape.rewind()
            self._shown, self._is_spoilt, self._last_tick = 0.0, False, float("-inf")
            await self._write(self._stage.begin(size_of(self._terminal)))
        while (head := self._tape.head) and head.time <= goal:
            await self._show(goal)
            await asyncio.sleep(0)  # a terminal that takes everything must not keep the others waiting
            if self._is_over or self._is_spoilt or self._goal != goal:
                return
        self._goal = None
        self._pace.jump(goal)

    async def _show(self, until: float, *, at_least_one: bool = False) -> None:
        """Write a piece of what happened up to *until*."""
        pieces, characters, entries = [], 0, 0
        while (head := self._tape.head) and characters < _PIECE_CHARACTERS and entries < _PIECE_ENTRIES:
            if head.time > until and (entries or not at_least_one):
                break
            pieces.append(self._stage.show(self._tape.take()))
            characters += len(pieces[-1])
            entries += 1
            self._shown = head.time
        if at_least_one and entries:
            self._pace.reached(self._shown)
        await self._write("".join(pieces))

    async def _step(self) -> None:
        """Show what comes next, up to and with the next output."""
        self._wants_step = False
        if self._is_spoilt:
            await self._go_to_here()
        pieces = []
        while head := self._tape.head:
            pieces.append(self._stage.show(self._tape.take()))
            self._shown = head.time
            if isinstance(head.event, Output | ErrorOutput):
                break
        self._pace.jump(self._shown)
        await self._write("".join(pieces))

    async def _look_for(self, text: str) -> None:
        """Find the places of *text*, and go to the next one. The viewer may quit meanwhile."""
        self._wanted, self._place = None, f"looking for {text} …"
        await self._show_status()
        try:
            self._places = await reading(places_of, self._path, text, lambda: self._is_over, self._identities)
        except Stopped:
            return
        self._place = "" if self._places.times else f"{text}: not found"
        self._go_to_place(self._places, 1)

    def _go_to_place(self, places: Places, step: int) -> None:
        """Go to the next of *places*, or the last one, and stay there."""
        number = places.following(self._position, step)
        if number is not None:
            self._place = places.told(number)
            self._pace.pause(True)
            self._seek(places.times[number])

    async def _go_to_here(self) -> None:
        self._goal = self._pace.position
        await self._go_to(self._goal)

    async def _show_status(self) -> None:
        """Draw the status line, if it has a place, has changed or may be erased, and not too often."""
        now, is_paused = self._monotonic(), self._pace.is_paused
        if self._look is None or not (
            is_paused or (self._stage.has_status_row and now - self._last_tick >= _TICK)
        ):
            return
        if self._stage.is_cursor_saved and not is_paused:
            return
        self._last_tick = now
        has_own_row = self._stage.has_status_row and not self._wants_keys and not self._stage.is_cursor_saved
        self._is_spoilt = self._is_spoilt or not has_own_row
        keys = self._stage.keys() if self._wants_keys else ""
        status = Status(
            position=min(self._pace.position, self._found.length),
            length=self._found.length,
            speed=self._pace.speed,
            is_paused=is_paused,
            idle_limit=self._pace.idle_limit,
            who=who(self._found.header, self._found.id),
            size=self._stage.size,
            room=size_of(self._terminal),
            note=self._stage.note,
            prompt=self._prompt,
            place=self._place,
        )
        await self._write(keys + self._stage.status(status.line(self._look)))

    async def _read_keys(self) -> None:
        decoder = KeyDecoder()
        while (data := await read_keys(self._terminal, decoder)) != b"":
            for key, _ in decoder.decode(data):
                self._press(key)
            self._changed.set()
        self._is_over = True
        self._changed.set()

    def _press(self, key: Key | str) -> None:
        if self._prompt is not None and key not in (Key.INTERRUPT, Key.END_OF_INPUT):
            self._type(key, self._prompt)
        elif key in ("q", Key.INTERRUPT, Key.END_OF_INPUT):
            self._is_over = True
        elif self._wants_keys:
            self._wants_keys = False
            self._pace.pause(self._was_paused)
            self._redraw()
        elif isinstance(key, str) and key.isascii() and key.isdigit():
            self._seek(self._found.length * int(key) / 10)
        elif key in _SEEKS:
            self._seek(self._position + _SEEKS[key])
        elif key in _OTHERS:
            _OTHERS[key](self)

    def _ask_text(self) -> None:
        self._was_paused, self._prompt = self._pace.is_paused, ""
        self._pace.pause(True)

    def _type(self, key: Key | str, typed: str) -> None:
        """A key while a text to look for is typed."""
        match key:
            case str():
                self._prompt = (typed + key)[:_LONGEST_TEXT]
            case Key.BACKSPACE:
                self._prompt = typed[:-1]
            case Key.DELETE_LINE:
                self._prompt = ""
            case Key.ENTER | Key.ESCAPE:
                self._prompt = None
                if key is Key.ENTER and typed:
                    self._wanted = typed
                else:
                    self._pace.pause(self._was_paused)
                self._redraw()

    @property
    def _position(self) -> float:
        return self._pace.position if self._goal is None else self._goal

    def _seek(self, to: float) -> None:
        self._goal = min(max(to, 0.0), self._found.length)

    def _redraw(self) -> None:
        self._is_spoilt = True
        self._goal = self._position
        self._changed.set()

    def _toggle_pause(self) -> None:
        self._pace.pause(not self._pace.is_paused)
        if self._is_spoilt:
            self._redraw()

    def _toggle_idle_limit(self) -> None:
        self._pace.idle_limit = None if self._pace.idle_limit else self._usual_idle_limit

    def _ask_step(self) -> None:
        self._wants_step = self._pace.is_paused

    def _show_keys(self) -> None:
        self._was_paused, self._wants_keys = self._pace.is_paused, True
        self._pace.pause(True)

    async def _wait(self, seconds: float | None) -> None:
        """Wait for a key or a resize, *seconds* at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def _write(self, text: str) -> None:
        if text:
            await self._terminal.write(text.encode("utf-8", "replace"))


_SEEKS: dict[Key | str, float] = {
    Key.LEFT: -5.0,
    Key.RIGHT: 5.0,
    Key.SHIFT_LEFT: -60.0,
    Key.SHIFT_RIGHT: 60.0,
    "[": -60.0,
    "]": 60.0,
    Key.HOME: float("-inf"),
    Key.END: float("inf"),
}
_OTHERS: dict[Key | str, Callable[[_Replay], None]] = {
    " ": _Replay._toggle_pause,
    ".": _Replay._ask_step,
    "+": lambda replay: replay._pace.faster(1),
    "=": lambda replay: replay._pace.faster(1),
    ">": lambda replay: replay._pace.faster(1),
    "-": lambda replay: replay._pace.faster(-1),
    "<": lambda replay: replay._pace.faster(-1),
    "i": _Replay._toggle_idle_limit,
    "?": _Replay._show_keys,
    "/": _Replay._ask_text,
    "n": lambda replay: replay._go_to_place(replay._places, 1),
    "N": lambda replay: replay._go_to_place(replay._places, -1),
    "m": lambda replay: replay._go_to_place(replay._marks, 1),
    "M": lambda replay: replay._go_to_place(replay._marks, -1),
    Key.REDRAW: _Replay._redraw,
}
