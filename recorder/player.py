"""Replays a recording on a byte terminal, at its own pace and under the viewer's keys.

The recorded screen is drawn by the viewer's terminal itself, through the ScreenFilter. The status line stands below it
where there is room, else only while paused, over the recording. Where it goes to is drawn from a key point on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from recorder.at_rest import Identity, open_plain
from recorder.disk import reading
from recorder.playback import DEFAULT_IDLE_LIMIT, Pace, Survey, Tape, survey
from recorder.player_points import PlayerPoints
from recorder.player_reel import Reel
from recorder.player_search import JUST_AFTER, Places, places_of
from recorder.player_stage import Stage
from recorder.player_status import Status, clock, moment, too_small, who
from recorder.search_lines import Stopped
from recorder.seek_index import read_kept
from recorder.terminal import Terminal, size_of
from recorder.terminal.abilities import abilities_of
from recorder.terminal.keyboard import Key, KeyDecoder, read_keys
from recorder.terminal.screen import leaving_clean

_TICK = 0.25
_LOOK = 0.05
"""Seconds between looks whether a key point has been found."""
_NOTICE_SECONDS = 2.0
_LONGEST_TEXT = 200


class Player:
    """Plays the recording at *path* on *terminal*; an encrypted one with *identities*.

    *speed* is recorded seconds per second; pauses longer than *idle_limit* seconds are cut to it (None: not); *start*
    is where to begin, in seconds. *folder* is that of the recordings, if it is one of them, and has the indexes.
    *is_gentle* leaves the interpreter to others for most of the time, while key points are looked for.
    """

    def __init__(
        self,
        path: Path,
        terminal: Terminal,
        *,
        speed: float = 1.0,
        idle_limit: float | None = None,
        start: float = 0.0,
        folder: Path | None = None,
        is_gentle: bool = False,
        identities: Sequence[Identity] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._terminal = terminal
        self._monotonic = monotonic
        self._pace = Pace(monotonic, speed=speed, idle_limit=idle_limit)
        self._start = start
        self._folder = folder
        self._is_gentle = is_gentle
        self._identities = identities

    async def run(self) -> None:
        """Play to the end, or until the viewer quits or their terminal ends. FormatError: it is no recording.

        The terminal is left in order, also when this is cancelled.
        """
        found, points = await reading(self._look)
        with await reading(open_plain, self._path, self._identities) as file:
            tape = await reading(Tape, file)
            replay = _Replay(self._path, self._folder, found, tape, points, self._terminal, self._pace)
            replay.identities, replay.monotonic = self._identities, self._monotonic
            await replay.run(self._start)

    def _look(self) -> tuple[Survey, PlayerPoints]:
        found = survey(self._path, self._identities)
        kept = read_kept(self._folder, found.id, self._path) if self._folder else None
        points = PlayerPoints(self._path, kept, self._identities, is_gentle=self._is_gentle)
        points.prepare()
        return found, points


class _Replay:
    """One replay: reading keys changes what is wanted, playing does it."""

    def __init__(
        self,
        path: Path,
        folder: Path | None,
        found: Survey,
        tape: Tape,
        points: PlayerPoints,
        terminal: Terminal,
        pace: Pace,
    ) -> None:
        self.identities: Sequence[Identity] = ()
        self.monotonic = time.monotonic
        self._path = path
        self._folder = folder
        self._found = found
        self._tape = tape
        self._points = points
        self._terminal = terminal
        self._pace = pace
        self._look = abilities_of(terminal.term)
        self._stage = Stage(found.header, self._look)
        self._reel = Reel(tape, self._stage, terminal, points)
        self._usual_idle_limit = pace.idle_limit or DEFAULT_IDLE_LIMIT
        self._changed = asyncio.Event()
        self._goal: float | None = None
        self._wants_step = False
        self._wants_keys = False
        self._was_paused = False
        self._asks: str | None = None  # what is typed: "/" a text to look for, "g" a time to go to
        self._prompt = ""
        self._wanted: str | None = None  # a text that is to be looked for
        self._places = Places("", ())
        self._wants_note = 0  # the next one (1) or the last one (-1)
        self._place = ""
        self._is_over = False
        self._is_redrawn = False  # while something was gone to
        self._last_tick = float("-inf")

    async def run(self, start: float) -> None:
        self._seek(start)
        try:
            async with (
                leaving_clean(self._terminal, resized=self._redraw, leave=self._leave),
                asyncio.TaskGroup() as tasks,
            ):
                keys = tasks.create_task(self._read_keys())
                tasks.create_task(self._points.run(self._scanned))
                try:
                    await self._warn_if_too_small()
                    await self._play()
                finally:
                    self._points.stop()
                keys.cancel()
        except* OSError:
            self._is_over = True  # the terminal is gone, and the viewer with it

    def _scanned(self) -> None:
        if self._points.silent:
            self._redraw()  # with what is to be said of it
        self._changed.set()

    def _leave(self) -> bytes:
        fault = f"; it cannot be read on: {self._tape.fault.message}" if self._tape.fault else ""
        text = f"{clock(self._reel.shown)} of {clock(self._found.length)} of {self._found.id} replayed{fault}\r\n"
        return (self._stage.end() + text).encode("utf-8", "replace")

    async def _warn_if_too_small(self) -> None:
        room = size_of(self._terminal)
        size = self._points.largest or (self._found.header.columns or 80, self._found.header.rows or 24)
        if self._look is None or self._found.header.terminal is None or not too_small(size, room):
            return
        notice = self._stage.notice(
            [
                f"Recorded with up to {size[0]}x{size[1]},",
                f"shown here in {room[0]}x{room[1]}: it will not fit.",
                "Enlarge the terminal if you can.",
            ]
        )
        await self._reel.write(self._stage.begin(room) + notice)
        await self._wait(_NOTICE_SECONDS)

    async def _play(self) -> None:
        while not self._is_over:
            head = self._tape.head
            if self._goal is not None:
                await self._go_to(self._goal)
            elif self._wanted is not None:
                await self._look_for(self._wanted)
            elif self._wants_note:
                await self._go_to_note(self._wants_note)
            elif self._wants_step:
                await self._step()
            elif head is None and not self._pace.is_paused:
                return
            elif (due := self._pace.due_in(head.time) if head else None) == 0:
                if await self._reel.show(self._pace.position, at_least_one=True):
                    self._pace.reached(self._reel.shown)
                await self._show_status()
            else:
                await self._show_status()
                await self._wait(None if self._pace.is_paused else min(due or _TICK, _TICK))

    async def _go_to(self, goal: float) -> None:
        """Show the screen as it was at *goal*, unless another goal comes up on the way."""

        def is_wanted() -> bool:
            return self._goal == goal and not self._is_over and not self._is_redrawn

        self._is_redrawn = False
        if goal > max(self._reel.shown, 0.0) and not await self._until(
            lambda: self._points.covers(goal), is_wanted
        ):
            return
        self._last_tick = float("-inf")
        if await self._reel.wind(goal, is_wanted) and is_wanted():
            self._goal = None
            self._pace.jump(goal)

    async def _until(self, is_found: Callable[[], bool], is_wanted: Callable[[], bool]) -> bool:
        """Wait for a key point or a note to be found, and say how far that is; false when it is not wanted any more."""
        place = self._place
        while is_wanted():
            if is_found():
                self._place = place
                return True
            self._place = f"looking through it: {self._points.part:.0%}"
            await self._show_status(is_due=True)
            await self._wait(_LOOK)
        return False

    async def _step(self) -> None:
        """Show what comes next, up to and with the next output."""
        self._wants_step = False
        if self._reel.is_spoilt:
            self._goal = self._pace.position
            await self._go_to(self._goal)
        await self._reel.step()
        self._pace.jump(self._reel.shown)

    async def _look_for(self, text: str) -> None:
        """Find the places of *text*, and go to the next one. The viewer may quit meanwhile."""
        self._wanted, self._place = None, f"looking for {text} …"
        await self._show_status()
        try:
            self._places = await reading(
                places_of, self._path, self._folder, text, lambda: self._is_over, self.identities
            )
        except Stopped:
            return
        self._place = "" if self._places.times else f"{text}: not found"
        self._go_to_place(self._places, 1)

    def _go_to_place(self, places: Places, step: int) -> None:
        """Go to the next of *places*, or the last one, and stay there."""
        number = places.following(self._position, step)
        if number is not None:
            self._pace.pause(True)
            self._seek(places.times[number])
            self._place = places.told(number)

    async def _go_to_note(self, step: int) -> None:
        """Go to the next note of the bastion, or the last one, once it is known which that is."""

        def is_wanted() -> bool:
            return self._wants_note == step and self._goal is None and not self._is_over

        if await self._until(lambda: self._is_known_note(step), is_wanted):
            self._ask_note(step)

    def _is_known_note(self, step: int) -> bool:
        notes = self._points.notes
        return self._points.is_whole or (step > 0 and bool(notes) and notes[-1] > self._position)

    async def _show_status(self, *, is_due: bool = False) -> None:
        """Draw the status line, if it has a place, has changed or may be erased, and not too often."""
        now, is_paused = self.monotonic(), self._pace.is_paused
        is_due = is_due or is_paused
        if self._look is None or not (
            is_due or (self._stage.has_status_row and now - self._last_tick >= _TICK)
        ):
            return
        if self._stage.is_cursor_saved and not is_due:
            return
        self._last_tick = now
        has_own_row = self._stage.has_status_row and not self._wants_keys and not self._stage.is_cursor_saved
        self._reel.is_spoilt = self._reel.is_spoilt or not has_own_row
        keys = self._stage.keys() if self._wants_keys else ""
        status = Status(
            position=min(self._position, self._found.length),
            length=self._found.length,
            speed=self._pace.speed,
            is_paused=is_paused,
            idle_limit=self._pace.idle_limit,
            who=who(self._found.header, self._found.id),
            size=self._stage.size,
            room=size_of(self._terminal),
            note=self._stage.note,
            prompt=None if self._asks is None else f"{_PROMPTS[self._asks]}{self._prompt}",
            place=self._place,
        )
        await self._reel.write(keys + self._stage.status(status.line(self._look)))

    async def _read_keys(self) -> None:
        decoder = KeyDecoder()
        while (data := await read_keys(self._terminal, decoder)) != b"":
            for key, _ in decoder.decode(data):
                self._press(key)
            self._changed.set()
        self._is_over = True
        self._changed.set()

    def _press(self, key: Key | str) -> None:
        if self._asks is not None and key not in (Key.INTERRUPT, Key.END_OF_INPUT):
            self._type(key, self._asks)
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

    def _ask(self, what: str) -> None:
        self._was_paused, self._asks, self._prompt = self._pace.is_paused, what, ""
        self._pace.pause(True)

    def _type(self, key: Key | str, asked: str) -> None:
        """A key while something is asked."""
        match key:
            case str():
                self._prompt = (self._prompt + key)[:_LONGEST_TEXT]
            case Key.BACKSPACE:
                self._prompt = self._prompt[:-1]
            case Key.DELETE_LINE:
                self._prompt = ""
            case Key.ENTER | Key.ESCAPE:
                self._asks = None
                self._redraw()
                if key is Key.ENTER and self._prompt:
                    self._answer(asked, self._prompt)
                else:
                    self._pace.pause(self._was_paused)

    def _answer(self, asked: str, text: str) -> None:
        if asked == "/":
            self._wanted = text
        elif (time := moment(text)) is not None:
            self._seek(time)
            self._pace.pause(self._was_paused)
        else:
            self._place = f"{text} is no time: 90, 1:30, 1:02:03 or 1h2m3s"

    @property
    def _position(self) -> float:
        return self._pace.position if self._goal is None else self._goal

    def _seek(self, to: float) -> None:
        self._goal = min(max(to, 0.0), self._found.length)
        self._place, self._wants_note = "", 0

    def _redraw(self) -> None:
        self._reel.is_spoilt = self._is_redrawn = True
        self._goal = self._position
        self._changed.set()

    def _toggle_pause(self) -> None:
        self._pace.pause(not self._pace.is_paused)
        if self._reel.is_spoilt:
            self._redraw()

    def _toggle_idle_limit(self) -> None:
        self._pace.idle_limit = None if self._pace.idle_limit else self._usual_idle_limit

    def _ask_step(self) -> None:
        self._wants_step = self._pace.is_paused

    def _ask_note(self, step: int) -> None:
        if self._is_known_note(step):
            self._wants_note = 0
            self._go_to_place(Places("note", [time + JUST_AFTER for time in self._points.notes]), step)
        else:
            self._wants_note = step

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


_PROMPTS = {"/": "/", "g": "go to: "}
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
    "/": lambda replay: replay._ask("/"),
    "g": lambda replay: replay._ask("g"),
    "n": lambda replay: replay._go_to_place(replay._places, 1),
    "N": lambda replay: replay._go_to_place(replay._places, -1),
    "m": lambda replay: replay._ask_note(1),
    "M": lambda replay: replay._ask_note(-1),
    Key.REDRAW: _Replay._redraw,
}
