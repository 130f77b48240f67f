"""What goes in comes out: any bytes, however they were cut, and every event in its order."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.encoder import PIECE, Encoder
from recorder.errors import FormatError
from recorder.events import (
    BreakSent,
    ErrorOutput,
    Event,
    Exited,
    FileHandled,
    Happened,
    Input,
    InputEnded,
    Killed,
    Noted,
    Output,
    OutputEnded,
    Resized,
    Signalled,
)
from recorder.lines import LINE_LIMIT
from tests.recorder.casts import cast, read, streams, verify

awkward = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b"\x1b[",
        "é".encode(),
        "日".encode(),
        "🙂".encode(),
        b"\xff",
        b"\xed\xa0\x80",
        b"\xf4\x90",
    ]
)
data = st.one_of(
    st.binary(max_size=40), st.lists(awkward, max_size=12).map(b"".join), st.text(max_size=20).map(str.encode)
)
side = st.integers(0, 2**32 - 1)
streamed = st.one_of(st.builds(Output, data), st.builds(ErrorOutput, data), st.builds(Input, data))
plain = st.one_of(
    st.builds(Resized, side, side, side, side),
    st.builds(Resized, st.integers(1, 300), st.integers(1, 100)),
    st.builds(Signalled, st.text(max_size=8)),
    st.builds(BreakSent, side),
    st.builds(Exited, st.integers(0, 255)),
    st.builds(Killed, st.text(max_size=8), st.booleans(), st.text(max_size=20)),
    st.builds(
        FileHandled,
        st.text(max_size=8),
        st.text(max_size=8),
        to=st.text(max_size=8),
        size=st.none() | st.integers(0, 2**63),
        offset=st.integers(0, 2**63),
        sha256=st.none() | st.just("00ff"),
        result=st.sampled_from(["", "ok"]),
        reused=st.none() | st.integers(0, 2**63),
        checksum=st.sampled_from(["", "md5 00ff"]),
    ),
    st.builds(
        Happened,
        st.sampled_from(["sql", "request"]),
        st.text(max_size=20),
        st.dictionaries(
            st.text(max_size=8),
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**63)
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=8),
            max_size=3,
        ),
    ),
    st.builds(Noted, st.text(max_size=20)),
    st.just(InputEnded()),
    st.just(OutputEnded()),
)
batches = st.lists(st.lists(st.one_of(streamed, plain), max_size=5), max_size=8)
terminal = st.sampled_from(["xterm-256color", None])


def others(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Output | ErrorOutput | Input)]


@given(batches, terminal)
def test_every_stream_and_every_event_is_rebuilt_exactly(
    batches: list[list[Event]], terminal: str | None
) -> None:
    sent = [event for batch in batches for event in batch]
    _, entries = read(cast(batches, terminal=terminal))
    got = [entry.event for entry in entries]
    assert streams(got) == streams(sent)
    assert others(got) == others(sent)


@given(st.lists(awkward, min_size=1, max_size=30).map(b"".join), st.data(), terminal)
def test_a_stream_cut_anywhere_is_the_same_stream(
    whole: bytes, draw: st.DataObject, terminal: str | None
) -> None:
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    _, entries = read(cast([[Output(part)] for part in parts], terminal=terminal))
    assert streams([entry.event for entry in entries])[0] == whole


@given(st.lists(data, max_size=8), terminal)
def test_all_bytes_of_a_chunk_are_in_the_lines_it_returns(chunks: list[bytes], terminal: str | None) -> None:
    """Nothing waits for the rest of a character: a prefix of the file holds a prefix of the stream, chunk by chunk."""
    for count in range(len(chunks) + 1):
        lines = cast([[Output(chunk)] for chunk in chunks[:count]], terminal=terminal, is_sealed=False)
        _, entries = read(lines)
        assert streams([entry.event for entry in entries])[0] == b"".join(chunks[:count])


@given(st.text(max_size=60), st.data())
def test_text_cut_inside_characters_is_shown_whole(text: str, draw: st.DataObject) -> None:
    whole = text.encode()
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    _, entries = read(cast([[Output(part)] for part in parts]))
    assert "".join(entry.text for entry in entries) == text


@given(batches, terminal)
def test_each_line_is_what_the_strictest_stock_reader_wants(
    batches: list[list[Event]], terminal: str | None
) -> None:
    lines = cast(batches, terminal=terminal)
    last = 0.0
    for line in lines[1:]:
        assert re.match(rb'\[\d+\.\d{6},"[a-z]",".*"\]\n\Z', line), (
            line
        )  # one line, no exponent, data a string
        time, _, data = json.loads(line.decode())
        data.encode()  # no lone surrogates
        assert time >= last
        last = time
    assert verify(lines).state == "sealed"


@given(st.lists(data, max_size=6))
def test_without_a_terminal_no_line_feed_is_shown_without_a_carriage_return(chunks: list[bytes]) -> None:
    _, entries = read(cast([[Output(chunk), ErrorOutput(chunk)] for chunk in chunks], terminal=None))
    for entry in entries:
        assert not re.search(r"(?<!\r)\n", entry.text)


def test_clean_output_costs_one_line_a_chunk() -> None:
    assert len(cast([[Output(b"a")], [Output("é".encode())]])) == len(cast([])) + 2


def test_a_character_cut_in_two_costs_its_own_bytes_only() -> None:
    text = b"x" * 1000
    first, second = Output(text + "日".encode()[:2]), Output("日".encode()[2:] + text)
    lines = cast([[first], [second]], is_sealed=False)[3:]
    assert b"".join(lines).count(b"x" * 1000) == 2
    assert sum(map(len, lines)) < 2200


def test_stderr_is_shown_as_output_and_kept_apart() -> None:
    _, entries = read(cast([[Output(b"out\n"), ErrorOutput(b"err\n")]], terminal=None))
    assert [(entry.event, entry.text) for entry in entries] == [
        (Output(b"out\n"), "out\r\n"),
        (ErrorOutput(b"err\n"), "err\r\n"),
    ]


def test_bytes_that_are_no_text_are_not_poured_over_a_screen() -> None:
    """Without a terminal a piece of a tar file is shown as a remark; on a terminal as the terminal showed it."""
    chunk = b"\x7fELF\0\xff\xfe" * 100
    for term, shown in (
        (None, "[700 bytes that are not text]\r\n"),
        ("xterm", "\x7fELF\0\ufffd\ufffd" * 100),
    ):
        _, entries = read(cast([[Output(chunk)]], terminal=term))
        assert [(entry.event, entry.text) for entry in entries] == [(Output(chunk), shown)]


def test_a_chunk_of_any_size_stays_below_the_limit_of_a_line() -> None:
    chunk = b"\0" * (PIECE * 3 + 1)
    lines = cast([[Output(chunk)]])
    assert max(map(len, lines)) < LINE_LIMIT / 8
    assert streams([entry.event for entry in read(lines)[1]])[0] == chunk


def test_a_note_longer_than_a_line_may_be_is_an_error() -> None:
    with pytest.raises(FormatError, match="too long"):
        Encoder(shows_crlf=False).encode([Noted("x" * LINE_LIMIT)], 0)


def test_lone_surrogates_are_replaced_before_they_reach_the_file() -> None:
    _, entries = read(cast([[Noted("a\ud800b"), Signalled("\udfff")]]))
    assert [entry.event for entry in entries] == [Noted("a\ufffdb"), Signalled("\ufffd")]


def test_a_window_no_player_could_draw_is_shown_smaller_and_kept_exactly() -> None:
    lines = cast([[Resized(0, 4_000_000_000)]])
    assert b'"r","1x1000"' in b"".join(lines)
    assert [entry.event for entry in read(lines)[1]] == [Resized(0, 4_000_000_000)]
