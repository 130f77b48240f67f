"""The player as a conversation: a real recording, a terminal in memory, keys in, bytes out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from recorder import player_points
from recorder.errors import FormatError
from recorder.events import (
    ErrorOutput,
    Event,
    Exited,
    FileHandled,
    Happened,
    Input,
    Noted,
    Output,
    Resized,
)
from recorder.playback import Tape
from recorder.player import Player
from recorder.reader import Entry
from recorder.seek_scan import Scan
from tests.recorder.casts import ID, cast
from tests.recorder.scripted_terminal import GoneTerminal, ScriptedTerminal, start


class Show:
    """A recording being played; *clock* stands still unless the test moves it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "x.cast"
        self.now = 0.0

    def record(self, *batches: Sequence[Event], terminal: str | None = "xterm") -> None:
        """Write a recording of *batches*, 0.1 s apart, on 80x24."""
        self.path.write_bytes(b"".join(cast(batches, terminal=terminal)))

    def player(self, terminal: ScriptedTerminal, **options: float | None) -> Player:
        return Player(self.path, terminal, monotonic=lambda: self.now, **options)  # type: ignore[arg-type]

    async def turn(
        self, terminal: ScriptedTerminal, text: str, by: float = 0.01, end: float = float("inf")
    ) -> None:
        """Turn the clock until *text* is written, and not beyond *end*: the player may be behind it."""
        while text not in terminal.text():
            self.now = min(self.now + by, end)
            await asyncio.sleep(0.005)

    async def play(
        self, *typed: bytes, columns: int = 80, rows: int = 30, **options: float
    ) -> ScriptedTerminal:
        """Play with these keys typed beforehand, to the end."""
        terminal = ScriptedTerminal(*typed, columns=columns, rows=rows)
        await self.player(terminal, **options).run()
        return terminal


@pytest.fixture
def show(tmp_path: Path) -> Show:
    return Show(tmp_path)


async def test_what_was_seen_is_shown_and_what_was_typed_is_not(show: Show) -> None:
    show.record([Output(b"$ "), Input(b"secret")], [Output("é東".encode())], [Exited(0)])
    terminal = await show.play(start=1.0)
    assert "$ é東" in terminal.text()
    assert "secret" not in terminal.text()
    assert f"0:00 of 0:00 of {ID} replayed" in terminal.text()


async def test_a_hostile_recording_does_nothing_but_draw(show: Show) -> None:
    show.record([Output(b"a\x1b]52;c;AA"), Output(b"AA\x07\x1b[6n\x1b[?1000h\x9b6nb")])
    terminal = await show.play(start=1.0)
    for sequence in (b"\x1b]", b"\x1b[6n", b"1000h", "\x9b".encode()):
        assert sequence not in terminal.written


async def test_the_player_ends_by_itself_and_leaves_the_terminal_in_order(show: Show) -> None:
    show.record([Output(b"\x1b[?1049h\x1b[?25l\x1b[31m\x1b[2;5r\x1b(0x")])
    terminal = await show.play(start=1.0)
    tail = terminal.written[terminal.written.rindex(b"\x1b(0x") :]
    for sequence in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[m", b"\x1b[r", b"\x1b(B", b"\x1b[?7h"):
        assert sequence in tail
    assert terminal.resized is None
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_events_wait_for_their_time(show: Show) -> None:
    show.record([Output(b"one")], [Output(b"two")])
    terminal = ScriptedTerminal(rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("0:00 / 0:00")
    assert "one" not in terminal.text()
    show.now = 0.11
    await terminal.until("one")
    assert "two" not in terminal.text()
    show.now = 0.3
    await playing
    assert "two" in terminal.text()


async def test_a_pause_holds_and_a_dot_steps(show: Show) -> None:
    show.record([Output(b"one")], [Input(b"x")], [Noted("seen")], [Output(b"two")], [Output(b"three")])
    terminal = ScriptedTerminal(b" ", rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("paused")
    show.now = 60.0
    terminal.type(b".")
    await terminal.until("one")
    assert "two" not in terminal.text()
    terminal.type(b".")
    await terminal.until("two")
    await terminal.until("note: seen")
    assert "three" not in terminal.text()
    terminal.type(b" ")
    await show.turn(terminal, "three")
    await playing


async def test_a_disk_that_does_not_answer_keeps_nobody_else_waiting(
    show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    show.record([Output(b"one")])
    asked, answers, take = threading.Event(), threading.Event(), Tape.take

    def slowly(tape: Tape) -> Entry:
        asked.set()
        answers.wait()
        return take(tape)

    monkeypatch.setattr(Tape, "take", slowly)
    terminal = ScriptedTerminal(rows=30)
    playing = start(show.player(terminal, start=1.0).run())
    while not asked.is_set():
        await asyncio.sleep(0.005)
    assert "one" not in terminal.text()
    answers.set()  # which this would never come to if the reading were done here
    await playing
    assert "one" in terminal.text()


async def test_a_seek_begins_at_a_key_point(show: Show) -> None:
    show.record(
        *[[Output(b"#%d " % n + b"x" * 70 + b"\r\n") for n in range(k, k + 100)] for k in range(0, 9000, 100)]
    )
    terminal = ScriptedTerminal(b" 9", columns=120, rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("#8099 x")
    assert "#0 x" not in terminal.text()
    terminal.take()
    terminal.type(b"5")
    await terminal.until("#4499 x")
    assert "#0 x" not in terminal.text() and "#4500 x" not in terminal.text()
    terminal.type(b"q")
    await playing


async def test_a_seek_waits_for_key_points_that_are_being_found_and_can_be_given_up(
    show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    show.record(*[[Output(b"line %d\r\n" % number)] for number in range(100)])
    monkeypatch.setattr(player_points, "AT_ONCE", 0)
    goes_on = threading.Event()
    run = Scan.run

    def waiting(scan: Scan, is_stopped: Callable[[], bool]) -> None:
        while not goes_on.wait(0.01) and not is_stopped():
            pass
        run(scan, is_stopped)

    monkeypatch.setattr(Scan, "run", waiting)
    terminal = ScriptedTerminal(b" 9", columns=120, rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("looking through it: 0%")
    assert "line 89" not in terminal.text()
    terminal.take()
    terminal.type(b"0")
    await terminal.until("0:00 / 0:10  paused  80x24  alice")
    terminal.type(b"9")
    await terminal.until("looking through it: 0%")
    goes_on.set()
    await terminal.until("line 89")
    terminal.type(b"q")
    await playing
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_recording_whose_file_goes_away_is_played_on(
    show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    show.record(*[[Output(b"line %d\r\n" % number)] for number in range(100)])
    monkeypatch.setattr(player_points, "AT_ONCE", 0)

    def gone(*_: object) -> None:
        raise FileNotFoundError(show.path)

    monkeypatch.setattr(player_points, "open_plain", gone)
    terminal = ScriptedTerminal(b" 9", columns=120, rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("line 89")
    terminal.type(b"q")
    await playing


@pytest.mark.parametrize("typed", ["5", "0:05", "0:00:05", "5s", "0m5s", "5.04"])
async def test_a_time_is_gone_to(show: Show, typed: str) -> None:
    show.record(*[[Output(b"line %d\r\n" % number)] for number in range(100)])
    terminal = ScriptedTerminal(b" g", typed.encode() + b"\r", columns=120, rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("line 49\r\n")
    await terminal.until("0:05 / 0:10  paused")
    assert "line 50" not in terminal.text()
    terminal.type(b"q")
    await playing


async def test_what_is_no_time_is_said(show: Show) -> None:
    show.record([Output(b"one")], [Output(b"two")])
    terminal = ScriptedTerminal(b" gsoon\r", columns=120, rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("soon is no time")
    terminal.type(b"q")
    await playing


async def test_the_note_of_a_moment_is_told_wherever_a_seek_begins(show: Show) -> None:
    show.record([Noted("early")], *[[Output(b"%d " % n + b"x" * 700 + b"\r\n")] for n in range(900)])
    terminal = ScriptedTerminal(b" 9", columns=120, rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("note: early")
    assert "\n0 xxx" not in terminal.text()
    terminal.type(b"q")
    await playing


async def test_a_session_that_showed_nothing_says_what_it_holds_instead(show: Show) -> None:
    facts: list[Event] = [
        FileHandled("sent", "/a", size=1, result="ok"),
        FileHandled("sent", "/b", size=1, result="ok"),
        Happened("connection", "db-7:5432"),
        Happened("end", "db-7:5432"),
    ]
    show.record(facts, [Noted("files: sent /a")], terminal=None)
    terminal = await show.play(start=1.0)
    assert "Nothing was shown in this session." in terminal.text()
    assert "It holds 2 copied files, 1 connection:" in terminal.text()
    assert "m and M go through the notes" in terminal.text()


async def test_a_session_that_showed_something_says_nothing_of_that(show: Show) -> None:
    show.record([Output(b"x"), Happened("sql", "select 1")])
    terminal = await show.play(start=1.0)
    assert "Nothing was shown" not in terminal.text() and "It holds" not in terminal.text()


async def test_seeking_back_draws_from_the_start(show: Show) -> None:
    show.record(*[[Output(b"line %d\r\n" % number)] for number in range(100)])
    terminal = ScriptedTerminal(b" 9", rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("line 89")
    terminal.take()
    terminal.type(b"1")
    await terminal.until("line 9\r\n")
    assert b"\x1b[2J" in terminal.written
    assert "line 10" not in terminal.text()
    terminal.type(b"\x1b[C")
    await terminal.until("line 59\r\n")
    assert "line 60" not in terminal.text()
    terminal.type(b"q")
    await playing


@pytest.mark.parametrize("keys", [b"q", b"\x03", b" q", b"?q", b" ?\x03", b""])
async def test_the_viewer_can_always_quit(show: Show, keys: bytes) -> None:
    show.record([Output(b"one")], [Output(b"two")])
    terminal = await show.play(keys)
    assert "two" not in terminal.text()


async def test_the_keys_are_shown_and_go_away(show: Show) -> None:
    show.record([Output(b"one")], [Output(b"two")])
    terminal = ScriptedTerminal(b"?", rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("shorten pauses")
    assert "shorten pauses" in terminal.text_on_screen()
    terminal.type(b"x")
    await show.turn(terminal, "onetwo")
    await playing
    assert "shorten pauses" not in terminal.text_on_screen()


async def test_speed_and_idle_limit_are_in_the_status_line(show: Show) -> None:
    show.record([Output(b"one")])
    terminal = ScriptedTerminal(b" ++i", rows=30)
    playing = start(show.player(terminal, speed=1.0).run())
    await terminal.until("paused  x4  pauses 2s  80x24  alice  deploy@web-1")
    terminal.type(b"-i")
    await terminal.until("paused  x2  80x24")
    terminal.type(b"q")
    await playing


async def test_the_recorded_screen_is_kept_apart_from_the_status_line(show: Show) -> None:
    show.record([Output(b"a\x1b[99;1Hb\x1b[r")])
    terminal = await show.play(start=1.0)
    assert b"\x1b[1;24r" in terminal.written
    assert b"\x1b[24;1Hb\x1b[1;24r" in terminal.written


async def test_a_full_terminal_has_no_status_line_until_a_pause(show: Show) -> None:
    show.record([Output(b"one")], [Output(b"two")])
    terminal = ScriptedTerminal(rows=24)
    playing = start(show.player(terminal).run())
    await show.turn(terminal, "one", end=0.15)
    assert "? keys" not in terminal.text()
    terminal.type(b" ")
    await terminal.until("? keys")
    terminal.take()
    terminal.type(b" ")
    await terminal.until("one")  # drawn again, without what stood over it
    assert "? keys" not in terminal.text()
    terminal.type(b"q")
    await playing


async def test_a_recorded_resize_moves_the_border_and_is_told(show: Show) -> None:
    show.record([Output(b"one")], [Resized(100, 20)], [Output(b"two")])
    terminal = ScriptedTerminal(b" 9", columns=120, rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("100x20")
    assert b"\x1b[1;20r" in terminal.written
    terminal.type(b"q")
    await playing


async def test_a_terminal_that_is_too_small_is_warned(show: Show) -> None:
    show.record([Output(b"one")])
    terminal = ScriptedTerminal(columns=40, rows=10)
    playing = start(show.player(terminal).run())
    await terminal.until("80x24")
    await terminal.until("will not fit")
    terminal.type(b" ")  # any key goes on
    await terminal.until("paused")
    terminal.type(b"q")
    await playing


async def test_a_resize_of_the_viewers_terminal_draws_again(show: Show) -> None:
    show.record([Output(b"one")], [Output(b"two")])
    terminal = ScriptedTerminal(rows=30)
    playing = start(show.player(terminal).run())
    await show.turn(terminal, "one", end=0.15)
    terminal.take()
    terminal.resize(100, 40)
    await terminal.until("one")
    await terminal.until("? keys")
    assert b"\x1b[40;1H" in terminal.written
    terminal.type(b"q")
    await playing


async def test_the_status_line_waits_while_the_program_holds_the_cursor(show: Show) -> None:
    """There is one saved cursor, and the status line must not take it from the recorded program."""
    show.record([Output(b"\x1b7one")], [Output(b"two")])
    terminal = ScriptedTerminal(rows=30)
    playing = start(show.player(terminal, start=0.1).run())
    await terminal.until("one")
    terminal.take()
    await show.turn(terminal, "two", by=0.05)
    await playing
    assert "? keys" not in terminal.text()


async def test_stderr_of_a_command_is_told_apart(show: Show) -> None:
    show.record([Output(b"out\n"), ErrorOutput(b"err\n")], terminal=None)
    terminal = await show.play(start=1.0)
    assert b"out\r\n\x1b[31merr\r\n\x1b[39m" in terminal.written


async def test_a_terminal_that_cannot_move_its_cursor_gets_the_output_alone(show: Show) -> None:
    show.record([Output(b"one\r\n")], [Output(b"two\r\n")])
    terminal = ScriptedTerminal(term="dumb")
    await show.player(terminal, start=1.0).run()
    assert terminal.written.startswith(b"one\r\ntwo\r\n")
    assert b"\x1b" not in terminal.written


async def test_cancelling_restores_the_terminal_and_leaves_no_task(show: Show) -> None:
    show.record([Output(b"\x1b[?1049hone")], [Output(b"two")])
    terminal = ScriptedTerminal(rows=30)
    playing = start(show.player(terminal, start=0.1).run())
    await terminal.until("one")
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    assert b"\x1b[?1049l" in terminal.written
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_terminal_that_is_gone_ends_the_replay(show: Show) -> None:
    show.record([Output(b"one")])
    await show.player(GoneTerminal()).run()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_recording_that_breaks_off_says_so(show: Show) -> None:
    show.record([Output(b"one")], [Output(b"two")])
    lines = show.path.read_bytes().splitlines(keepends=True)
    show.path.write_bytes(b"".join([*lines[:3], b"[0.15, nonsense]\n", *lines[3:]]))
    terminal = await show.play(start=1.0)
    assert "cannot be read on" in terminal.text()


async def test_what_is_no_recording_is_refused_before_the_screen_is_touched(show: Show) -> None:
    show.path.write_bytes(b"hello\n")
    terminal = ScriptedTerminal()
    with pytest.raises(FormatError):
        await show.player(terminal).run()
    assert terminal.written == b""


async def test_a_long_recording_lets_others_run_while_it_is_wound_on(show: Show) -> None:
    show.record(*[[Output(b"x" * 1000)] for _ in range(2000)])
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = start(tick())
    await show.play(start=500.0)
    ticking.cancel()
    assert ticks > 10


async def test_a_text_is_looked_for_and_its_places_follow_each_other(show: Show) -> None:
    show.record(*[[Output(b"line %d %s\r\n" % (n, b"needle" if n % 30 == 10 else b""))] for n in range(100)])
    terminal = ScriptedTerminal(b"/Needlx\x7fe\r", columns=120, rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("/Needle: 1 of 3")
    assert "line 10 needle" in terminal.text()
    assert "line 12" not in terminal.text()
    ways = [(b"n", 2, 40), (b"n", 3, 70), (b"n", 1, 10), (b"N", 3, 70)]
    for key, place, line in ways:
        terminal.take()
        terminal.type(key)
        await terminal.until(f"/Needle: {place} of 3")
        assert f"line {line} needle" in terminal.text()
    terminal.type(b"/nothing\r")
    await terminal.until("nothing: not found")
    terminal.type(b"q")
    await playing


async def test_notes_of_the_bastion_are_gone_to(show: Show) -> None:
    batches: list[list[Event]] = [[Output(b"line %d\r\n" % n)] for n in range(50)]
    batches[20].append(Noted("the first"))
    batches[40].append(Noted("the second"))
    show.record(*batches)
    terminal = ScriptedTerminal(b"mm", columns=120, rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until("note 2 of 2")
    await terminal.until("note: the second")
    terminal.take()
    terminal.type(b"M")
    await terminal.until("note: the first")
    assert "line 20" in terminal.text() and "line 21" not in terminal.text()
    terminal.type(b"q")
    await playing


async def test_a_search_that_is_given_up_changes_nothing(show: Show) -> None:
    show.record([Output(b"one")], [Output(b"two")])
    terminal = ScriptedTerminal(b"/q\x1b", rows=30)
    playing = start(show.player(terminal).run())
    await terminal.until(" /q")
    await show.turn(terminal, "two")
    await playing
    assert "not found" not in terminal.text()
