"""Time and tape of a replay, with a clock that the test turns."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from recorder.errors import FormatError
from recorder.events import Input, Noted, Output, Resized
from recorder.playback import Pace, Tape, shown_text, survey
from tests.recorder.casts import ID, cast


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def pace(speed: float = 1.0, idle_limit: float | None = None) -> tuple[Pace, Clock]:
    clock = Clock()
    return Pace(clock, speed=speed, idle_limit=idle_limit), clock


def test_an_event_is_due_at_its_time() -> None:
    played, clock = pace()
    assert played.due_in(5.0) == 5.0
    clock.now += 4
    assert played.due_in(5.0) == 1.0
    clock.now += 4
    assert played.due_in(5.0) == 0.0


def test_speed_shortens_the_wait_and_changes_from_here_on() -> None:
    played, clock = pace(speed=2.0)
    assert played.due_in(10.0) == 5.0
    clock.now += 3
    played.faster(1)
    assert (played.speed, played.position, played.due_in(10.0)) == (4.0, 6.0, 1.0)


def test_speed_stays_within_its_bounds() -> None:
    played, _ = pace()
    for _ in range(20):
        played.faster(1)
    assert played.speed == 16
    for _ in range(20):
        played.faster(-1)
    assert played.speed == 0.25


def test_an_odd_speed_steps_to_its_neighbours() -> None:
    played, _ = pace(speed=3.0)
    played.faster(-1)
    assert played.speed == 2.0


def test_nothing_is_due_while_paused_and_no_time_passes() -> None:
    played, clock = pace()
    clock.now += 1
    played.pause(True)
    clock.now += 60
    assert (played.due_in(5.0), played.position) == (None, 1.0)
    played.pause(False)
    assert played.due_in(5.0) == 4.0


def test_a_long_silence_is_cut_to_the_limit() -> None:
    played, clock = pace(idle_limit=2.0)
    played.reached(0.0)
    assert played.due_in(60.0) == 2.0
    clock.now += 2
    played.reached(60.0)
    assert (played.position, played.due_in(61.0)) == (60.0, 1.0)


def test_a_late_event_does_not_turn_the_clock_back() -> None:
    played, clock = pace()
    clock.now += 9
    played.reached(5.0)
    assert played.position == 9.0


def test_a_tape_can_be_played_again_from_the_start() -> None:
    tape = Tape(io.BytesIO(b"".join(cast([[Output(b"a")], [Input(b"k"), Output(b"b")]]))))
    first = [tape.take().text for _ in range(3)]
    assert tape.head is None
    tape.rewind()
    assert [tape.take().text for _ in range(3)] == first == ["a", "k", "b"]


def test_a_tape_ends_where_it_cannot_be_read_on() -> None:
    lines = cast([[Output(b"a")], [Output(b"b")]])
    at = next(number for number, line in enumerate(lines) if b'"b"' in line)
    tape = Tape(io.BytesIO(b"".join([*lines[:at], b"[nonsense\n", *lines[at:]])))
    assert tape.take().text == "a"
    assert tape.head is None
    assert isinstance(tape.fault, FormatError)


def test_a_survey_knows_the_length_by_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "x.cast"
    path.write_bytes(b"".join(cast([[Output(b"a")], [Resized(120, 30)], [Noted("n")]])))
    found = survey(path)
    assert found.id == ID
    assert found.length == pytest.approx(0.3)


def test_a_survey_of_a_torn_recording_knows_the_length_by_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "x.cast"
    lines = cast([[Output(b"a")], [Output(b"b")]], is_sealed=False)
    path.write_bytes(b"".join([*lines, b'[99.000000,"o","x']))
    assert survey(path).length == pytest.approx(0.2)


def test_a_survey_of_a_broken_recording_goes_as_far_as_it_can(tmp_path: Path) -> None:
    path = tmp_path / "x.cast"
    lines = cast([[Output(b"a")], [Output(b"b")]])
    at = next(number for number, line in enumerate(lines) if b'"b"' in line)
    path.write_bytes(b"".join([*lines[: at + 1], b"[nonsense\n", *lines[at + 1 :]]))
    assert survey(path).length == pytest.approx(0.2)


def test_shown_text_is_the_output_alone_and_safe(tmp_path: Path) -> None:
    path = tmp_path / "x.cast"
    path.write_bytes(
        b"".join(cast([[Output(b"a\x1b]0;t"), Input(b"secret")], [Output(b"\x07b"), Noted("n")]]))
    )
    assert "".join(shown_text(path, restores=False)) == "ab"
    assert "".join(shown_text(path, restores=True)).startswith("ab\x1b[")
