"""Seeking by key points: the screen is the one that playing from the start gives, and less has to be played."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from recorder import seek_points
from recorder.events import ErrorOutput, Event, Exited, Noted, Output, Resized
from recorder.playback import Tape
from recorder.player_stage import Stage
from recorder.reader import Reader
from recorder.seek_points import KeyPoints, Leg
from recorder.seek_scan import Scan
from recorder.terminal.abilities import abilities_of
from tests.recorder.casts import cast, header
from tests.recorder.drawn_screen import DrawnScreen

SIZE = (32, 10)
ROOM = (40, 14)
LOOK = abilities_of("xterm-256color")
CONTROLS = [
    "\r", "\n", "\t", "\b", "\x0e", "\x0f", "\x1b[2J", "\x1b[H", "\x1b[J", "\x1b[1J", "\x1b[K", "\x1b[2K", "\x1b[1K",
    "\x1b[H\x1b[2J", "\x1bc", "\x1b[r", "\x1bM", "\x1bD", "\x1bE", "\x1b[31m", "\x1b[1;32m", "\x1b[m", "\x1b[0;7m",
    "\x1b[39m", "\x1b(0", "\x1b(B", "\x1b7saved\x1b8", "\x1b[?25l", "\x1b[?25h", "\x1b[4h", "\x1b[4l", "\x1b[?7l",
    "\x1b[?7h", "\x1b[?1049h", "\x1b[?1049l", "\x1b[?1049h\x1b[?1049l\x1b[?1049h", "\x1b[?104", "9h", "\x1b[3", "1m",
    "日本語日本語", "é", "\x1b]0;title", "\x07",
]  # fmt: skip


def word(source: random.Random) -> str:
    return "".join(source.choices("abcdefgh xyz", k=source.randint(1, 12)))


def piece(source: random.Random) -> str:
    """What a program may write."""
    row, column = source.randint(1, 12), source.randint(1, 34)
    match source.randrange(12):
        case 0 | 1:
            return word(source)
        case 2 | 3 | 4:
            return f"{word(source)}\r\n"
        case 5:
            return "".join(f"{n} {word(source)}\r\n" for n in range(source.randint(5, 30)))
        case 6:
            return word(source) * 6
        case 7:
            return f"\x1b[{row}{source.choice('ABCDEFGdLMPX@STb')}"
        case 8:
            return f"\x1b[{row};{column}H"
        case 9 if row < 5:
            return f"\x1b[{row};{row + 5}r"
    return source.choice(CONTROLS)


def anything(seed: int) -> list[list[Event]]:
    """What may happen in a session; with some seeds rather lines, with others rather what full-screen programs do."""
    source = random.Random(seed)
    lines = source.random() / 2

    def event() -> Event:
        if source.random() < 0.02:
            return Resized(source.randint(10, 32), source.randint(3, 12))
        if source.random() < 0.02:
            return Noted("a note")
        text = f"{word(source)}\r\n" if source.random() < lines else piece(source)
        return Output(text.encode())

    return [[event() for _ in range(source.randint(1, 3))] for _ in range(source.randint(5, 100))]


def recorded(batches: Sequence[Sequence[Event]], terminal: str | None = "xterm") -> bytes:
    data = b"".join(cast(batches, terminal=terminal))
    return data.replace(b'"columns":80,"rows":24', b'"columns":%d,"rows":%d' % SIZE)


def scanned(data: bytes) -> KeyPoints:
    """The key points of a recording, as close together as can be."""
    scan = Scan(io.BytesIO(data))
    scan.points.spacing = 0
    scan.run()
    assert scan.is_over
    return scan.points


class Showing:
    """A recording on a screen: what the player writes is drawn."""

    def __init__(self, data: bytes, legs: list[Leg], until: float) -> None:
        self.shown = 0
        self._tape = Tape(io.BytesIO(data))
        head = Reader(io.BytesIO(data)).header
        self._stage = Stage(replace(head), LOOK)
        self._screen = DrawnScreen(*ROOM)
        self._screen.feed(self._stage.begin(ROOM).replace("\r\n", ""))
        for leg in legs:
            self._tape.go_to(leg.point)
            if leg.point.line > 1:
                self._screen.feed(self._stage.enter(leg.point))
            while leg.until is not None and self._tape.head and self._tape.offset < leg.until:
                self._show()
        while (head_entry := self._tape.head) and head_entry.time <= until:
            self._show()

    def _show(self) -> None:
        self._screen.feed(self._stage.show(self._tape.take()))
        self.shown += 1

    def look(self) -> list[object]:
        """The recorded screen now, and after each event that follows."""
        looks = [self._screen.look(*(self._stage.size or ROOM))]
        while self._tape.head:
            self._show()
            looks.append(self._screen.look(*(self._stage.size or ROOM)))
        return looks


def check(data: bytes, points: KeyPoints, until: float) -> int:
    """Whether a seek gives what playing from the start does, then and on; how many events less it has shown."""
    played, sought = Showing(data, [], until), Showing(data, points.legs(until), until)
    less = played.shown - sought.shown
    assert sought.look() == played.look()
    return less


@pytest.mark.parametrize("seed", range(40))
def test_a_seek_shows_what_playing_from_the_start_shows(seed: int) -> None:
    batches = anything(seed)
    data = recorded(batches)
    points = scanned(data)
    for part in (0.3, 0.6, 0.9):
        check(data, points, part * len(batches) / 10 + 0.05)


@pytest.mark.parametrize("seed", range(40, 60))
def test_few_key_points_are_right_as_well(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seek_points, "MOST_POINTS", 2 + seed % 12)
    batches = anything(seed)
    data = recorded(batches)
    points = scanned(data)
    assert len(points) <= seek_points.MOST_POINTS
    for part in (0.4, 0.8):
        check(data, points, part * len(batches) / 10 + 0.05)


Batches = Sequence[Sequence[Event]]
FLOOD: Batches = [[Output(b"line %d\r\n" % n)] for n in range(300)]
PAGES: Batches = [[Output(b"\x1b[?1049h")]] + [
    [Output(b"\x1b[Hpage %d\x1b[K\r\n" % n + b"more of it\x1b[K\r\n" * 9 + b"\x1b[J")] for n in range(300)
]
REGION: Batches = [[Output(b"\x1b[10;1Hstatus\x1b[K\x1b[1;9r\x1b[9;1H")]] + [
    [Output(b"\nline %d\r" % n if n % 100 else b"\x1b[r\x1b[10;1Hstatus %d\x1b[K\x1b[1;9r\x1b[9;1H" % n)]
    for n in range(300)
]
WIDE: Batches = [[Output("日本語と{}\r\n".format("x" * (n % 70)).encode())] for n in range(300)]


@pytest.mark.parametrize("events", [FLOOD, PAGES, REGION, WIDE], ids=["flood", "pages", "region", "wide"])
def test_what_redraws_the_screen_needs_little_to_be_played(events: Batches) -> None:
    data = recorded(events)
    for time in (12.05, 22.05, 29.95):
        assert check(data, scanned(data), time) > time * 10 * 0.5


def test_the_main_screen_is_there_when_the_alternate_one_is_left() -> None:
    pages: Batches = [*FLOOD[:100], *PAGES, [Output(b"\x1b[?1049l")], [Output(b"after\r\n")]]
    data = recorded(pages)
    points = scanned(data)
    assert [leg.until is None for leg in points.legs(35.0)] == [False, True]
    assert check(data, points, 35.0) > 200


def test_a_command_without_a_terminal_has_key_points_for_every_terminal() -> None:
    lines: list[list[Event]] = [
        [Output(b"out %d\n" % n * 30), ErrorOutput(b"error %d\n" % n)] for n in range(120)
    ]
    data = recorded(lines, terminal=None)
    assert check(data, scanned(data), 11.95) > 100


def test_a_screen_that_is_drawn_once_is_played_from_there() -> None:
    data = recorded([[Output(b"\x1b[1;1Honce")], *[[Output(b"\x1b[5;5H%d" % n)] for n in range(100)]])
    assert scanned(data).legs(9.0)[0].point.line == 1


@pytest.mark.parametrize("odd", ["\x1b#8", "\x1b[?6h", "\x1b[5000;1H\x1b#6"])
def test_what_is_not_followed_gives_no_more_key_points(odd: str) -> None:
    events: Batches = [*FLOOD[:50], [Output(odd.encode())], *FLOOD]
    data = recorded(events)
    points = scanned(data)
    assert points[len(points) - 1].time <= 5.2
    check(data, points, 30.0)


def test_key_points_are_bounded_however_long_it_is() -> None:
    points = KeyPoints()
    data = recorded([[Output(b"x\r\n")]] * 6000)
    scan = Scan(io.BytesIO(data))
    scan.points.spacing = 1
    scan.run()
    assert len(scan.points) <= seek_points.MOST_POINTS
    assert scan.points.spacing > 1
    assert len(points) == 0


def test_a_scan_ends_where_the_recording_cannot_be_read() -> None:
    lines = cast([[Output(b"a")], [Noted("n")], [Output(b"b")]])
    scan = Scan(io.BytesIO(b"".join([*lines[:4], b"nonsense\n", *lines[4:]])))
    scan.run()
    assert scan.is_over


def test_a_recording_is_read_on_from_a_key_point_as_from_the_start() -> None:
    """Times, line numbers and the account of typed input go on."""
    batches: Batches = [[Output(b"%d\r\n" % n), Noted(f"note {n}")] for n in range(50)]
    data = recorded([*batches, [Exited(3)]])
    whole = list(Reader(io.BytesIO(data)))
    for point in scanned(data).points[1:]:
        reader = Reader(io.BytesIO(data))
        reader.go_to(point.offset, line=point.line, time=point.time, untold=point.untold)
        rest = list(reader)
        assert rest == whole[-len(rest) :]
        assert reader.seal is not None


def test_random_bytes_do_not_stop_a_scan() -> None:
    source = random.Random(7)
    data = recorded(
        [[Output(source.randbytes(200)), Resized(source.randint(0, 3000), 24)] for _ in range(100)]
    )
    points = scanned(data)
    assert len(points) >= 1
    assert header().columns == 80
