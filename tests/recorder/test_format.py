"""The format stands still: named recordings read and verify today as when they were made."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from recorder.errors import FormatError
from recorder.events import Exited, Killed, Noted, Output
from recorder.header import Facts, Header, Opening, decode_opening, encode_opening
from recorder.keys import VerifyKey
from recorder.lines import LINE_LIMIT, encode_line
from recorder.names import SessionId
from recorder.reader import Reader, Sinks, open_recording, rebuild_streams
from recorder.verify import verify_file
from tests.recorder.casts import FACTS, ID, KEY, STARTED, cast, header, read
from tests.recorder.vectors import COMMAND, FOLDER, SHELL, everything

EXPECTED = json.loads((FOLDER / "expected.json").read_text())


def test_we_still_write_exactly_what_the_vectors_hold() -> None:
    """If this fails the format has changed: old readers and old recordings are what is at stake."""
    assert everything() == {path.name: path.read_bytes() for path in FOLDER.iterdir()}


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.startswith("good-")])
def test_a_good_recording_is_read(name: str) -> None:
    assert "error" not in EXPECTED[name]
    with open_recording(FOLDER / f"{name}.cast") as recording:
        assert len(list(recording)) == EXPECTED[name]["events"]
    assert EXPECTED[name]["verdict"]["state"] in ("sealed", "unsealed", "unknown key")


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.startswith("bad-")])
def test_a_bad_recording_is_never_found_intact(name: str) -> None:
    key = VerifyKey.load(FOLDER / "recorder.pub")
    verdict = verify_file(FOLDER / f"{name}.cast", [key])
    assert not verdict.is_intact
    assert {"state": verdict.state, "first": verdict.first, "last": verdict.last} == EXPECTED[name]["verdict"]


TAMPERED = (
    "changed", "changed-bytes", "dropped", "inserted", "reordered", "cut", "seal-of-another", "time-of-the-seal",
    "space-in-the-seal",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", [n for n in EXPECTED if n.startswith("bad-") and n.removeprefix("bad-") not in TAMPERED]
)
def test_what_breaks_the_format_is_refused_with_its_line(name: str) -> None:
    with pytest.raises(FormatError) as refusal, open_recording(FOLDER / f"{name}.cast") as recording:
        list(recording)
    assert {"line": refusal.value.line} == EXPECTED[name]["error"]
    assert refusal.value.line >= 1


def test_every_event_comes_back_in_its_place() -> None:
    for batches, terminal in ((SHELL, "xterm"), (COMMAND, None)):
        reader, entries = read(cast(batches, terminal=terminal))
        assert [entry.event for entry in entries] == [event for batch in batches for event in batch]
        assert entries[0].time == 0.1 and entries[-1].time == pytest.approx(len(batches) / 10)
        assert reader.seal is not None and reader.id == ID


def test_streams_are_rebuilt_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    path.write_bytes(b"".join(cast(COMMAND, terminal=None)))
    sinks = Sinks(output=io.BytesIO(), error=io.BytesIO(), input=io.BytesIO())
    rebuild_streams(path, sinks)
    assert isinstance(sinks.output, io.BytesIO) and isinstance(sinks.error, io.BytesIO)
    assert sinks.output.getvalue() == b"one\ntwo\r\nthree\r\n"
    assert sinks.error.getvalue() == b"careful\n"


def test_a_header_comes_back_as_it_was() -> None:
    for terminal in ("xterm-256color", "", None):
        opening = Opening(id=ID, key_id=KEY.id, header=header(terminal))
        assert decode_opening(encode_opening(opening)) == opening


def test_the_stock_keys_of_a_header_are_what_players_expect() -> None:
    line = json.loads(encode_opening(Opening(id=ID, key_id=KEY.id, header=header())))
    bastion = line.pop("bastion")
    assert line == {
        "version": 2, "width": 80, "height": 24, "timestamp": int(STARTED), "title": "deploy@web-1 by alice",
        "env": {"TERM": "xterm-256color"},
    }  # fmt: skip
    assert (bastion["format"], bastion["facts"]) == (1, FACTS)


def test_a_hostile_header_is_harmless_to_stock_players() -> None:
    facts: Facts = {
        "user": "a\x1b]0;x\x07\ud800" + "u" * 500,
        "target": "t\r\nx",
        "login": ["not a string"],
        "\udfff": "x",
    }
    strange = Header(started_at=-5.0, columns=0, rows=4_000_000_000, terminal="\x1b[c\ud800", facts=facts)
    line = json.loads(encode_opening(Opening(id=ID, key_id=KEY.id, header=strange)))
    assert (line["width"], line["height"], line["timestamp"]) == (80, 1000, 0)
    assert line["title"].isprintable() and len(line["title"]) <= 80
    assert line["bastion"]["rows"] == 4_000_000_000
    json.dumps(line, ensure_ascii=False).encode()  # no lone surrogates anywhere


def test_facts_that_do_not_fit_in_a_line_are_refused() -> None:
    long = Header(started_at=0.0, columns=80, rows=24, terminal=None, facts={"command": "x" * LINE_LIMIT})
    with pytest.raises(FormatError, match="too long"):
        encode_opening(Opening(id=ID, key_id=KEY.id, header=long))


def test_a_fact_of_a_later_version_is_passed_over() -> None:
    lines = cast([[Output(b"a")]])
    lines.insert(4, encode_line(100_000, "f", '{"is":"invented later","of":{"any":"shape"}}'))
    assert [entry.event for entry in read(lines)[1]] == [Output(b"a")]


def test_a_reader_holds_no_more_than_a_line() -> None:
    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    with pytest.raises(FormatError):
        Reader(io.BufferedReader(Endless()))
    start = b"".join(cast([], is_sealed=False))
    with pytest.raises(FormatError, match="too long"):
        list(Reader(io.BytesIO(start + b'[1.0,"o","' + b"x" * (LINE_LIMIT + 1))))


def test_a_recording_that_is_being_written_is_read_as_far_as_it_goes() -> None:
    lines = cast([[Output(b"one"), Output(b"\xff"), Noted("n"), Exited(0), Killed("HUP")]], is_sealed=False)
    whole = b"".join(lines)
    counts = []
    for end in range(len(b"".join(lines[:3])), len(whole) + 1):
        reader = Reader(io.BytesIO(whole[:end]))
        counts.append(len(list(reader)))
        assert reader.whole <= end
    assert counts == sorted(counts)
    assert counts[-1] == 5


def test_ids_say_the_day_and_nothing_else() -> None:
    for bad in ("261124-K7F3M9Q", "261124-k7f3m9", "261124-k7f3m9u", "../../../etc/passwd", ""):
        line = encode_opening(Opening(id=SessionId(bad), key_id=KEY.id, header=header()))
        with pytest.raises(FormatError, match="not the id of a session"):
            decode_opening(line)
