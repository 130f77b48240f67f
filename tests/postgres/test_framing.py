"""Messages are found in the bytes however these come, and every byte goes on as it was. No server is needed."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bastion.connectors.postgres.framing import (
    LARGEST_LOOK,
    LARGEST_STATEMENT,
    ClientFraming,
    Message,
    ServerFraming,
)
from bastion.connectors.postgres.messages import LENGTH, Malformed, message

_kinds = st.sampled_from([b"Q", b"P", b"B", b"E", b"S", b"d", b"F", b"X"])
_said_by_client = st.lists(st.builds(message, _kinds, st.binary(max_size=40)), max_size=12).map(tuple)
_said_by_server = st.lists(
    st.builds(message, st.sampled_from([b"T", b"D", b"C", b"d", b"Z", b"N"]), st.binary(max_size=40)),
    max_size=12,
).map(tuple)
_cuts = st.lists(st.integers(0, 600), max_size=20)


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(places):
        yield data[start:end]


@given(_said_by_client, _cuts)
@settings(max_examples=300)
def test_what_a_client_says_goes_on_whole_and_in_order(said: tuple[bytes, ...], cuts: list[int]) -> None:
    framing = ClientFraming(held=b"F")
    passed = b""
    heard: list[Message] = []
    for data in pieces(b"".join(said), cuts):
        for piece in framing.feed(data):
            passed += piece.data
            heard += piece.messages
            if any(kind == ord("F") for kind, _, _ in piece.messages):
                assert len(piece.messages) == 1
                assert piece.data == message(b"F", piece.messages[0][1])
    assert passed == b"".join(said)
    last = max((n for n, each in enumerate(said) if each[:1] in (b"Q", b"E")), default=-1)
    copied = [each for each in said[last + 1 :] if each[:1] == b"d"]
    assert heard == [(each[0], each[5:], len(each) - 5) for each in said if each[:1] != b"d"]
    assert (framing.copied.count, framing.copied.payload) == (
        len(copied),
        sum(map(len, copied)) - 5 * len(copied),
    )


@given(_said_by_client, _cuts)
def test_no_part_of_a_statement_goes_on_before_all_of_it_is_there(
    said: tuple[bytes, ...], cuts: list[int]
) -> None:
    framing = ClientFraming(held=b"")
    passed = 0
    ends = [sum(map(len, said[: n + 1])) for n in range(len(said))]
    for data in pieces(b"".join(said), cuts):
        for piece in framing.feed(data):
            passed += len(piece.data)
        for number, end in enumerate(ends):
            if said[number][:1] in (b"Q", b"P"):
                assert not end - len(said[number]) < passed < end


@given(_said_by_server, _cuts, st.booleans())
@settings(max_examples=300)
def test_what_a_server_says_is_told_and_tallied_however_it_comes(
    said: tuple[bytes, ...], cuts: list[int], wants_rows: bool
) -> None:
    told: list[tuple[int, bytes]] = []
    framing = ServerFraming(lambda kind, body: told.append((kind, body)))
    framing.wants_rows = wants_rows
    for data in pieces(b"".join(said), cuts):
        framing.feed(data)
    tallied = (b"d",) if wants_rows else (b"d", b"D")
    assert told == [(each[0], each[5:]) for each in said if each[:1] not in tallied]
    assert framing.is_between
    rows = b"".join(each for each in said if each[:1] == b"D" and not wants_rows)
    assert framing.rows.sha256 == hashlib.sha256(rows).hexdigest()
    assert framing.rows.size == len(rows)


@pytest.mark.parametrize("length", [0, 3])
def test_a_message_shorter_than_its_header_is_refused(length: int) -> None:
    with pytest.raises(Malformed):
        list(ClientFraming(held=b"").feed(b"Q" + LENGTH.pack(length)))
    with pytest.raises(Malformed):
        ServerFraming(lambda kind, body: None).feed(b"T" + LENGTH.pack(length))


@pytest.mark.parametrize("kind", [b"d", b"D"])
def test_a_tallied_message_shorter_than_its_header_is_refused(kind: bytes) -> None:
    with pytest.raises(Malformed):
        list(ClientFraming(held=b"").feed(kind + LENGTH.pack(2)))
    framing = ServerFraming(lambda kind, body: None)
    framing.wants_rows = False
    with pytest.raises(Malformed):
        framing.feed(kind + LENGTH.pack(4) + kind + LENGTH.pack(2))


def test_a_statement_longer_than_can_be_kept_is_refused_before_its_end() -> None:
    with pytest.raises(Malformed, match="a statement of"):
        list(ClientFraming(held=b"").feed(b"Q" + LENGTH.pack(LARGEST_STATEMENT + 100) + b"SELECT"))


def test_a_long_value_passes_as_it_comes_and_only_its_beginning_is_looked_into() -> None:
    framing, size, passed = ClientFraming(held=b""), 40 * 1024 * 1024, 0
    body = b"x" * size
    heard: list[Message] = []
    for data in pieces(message(b"B", body), [n * 100_000 for n in range(450)]):
        for piece in framing.feed(data):
            passed += len(piece.data)
            heard += piece.messages
            assert len(piece.data) <= 200_000
    assert passed == size + 5
    assert [(kind, len(start), whole) for kind, start, whole in heard] == [(ord("B"), LARGEST_LOOK, size)]


def test_data_of_a_copy_belongs_to_the_statement_before_it() -> None:
    """Some clients send statement, data and the next statement in one go."""
    copy, data, done = message(b"Q", b"COPY t FROM STDIN\0"), message(b"d", b"1234567"), message(b"c")
    for cuts in ([], [3], [30, 35, 40], list(range(1, 200, 7))):
        framing, ends = ClientFraming(held=b""), []
        for part in pieces((copy + data * 3 + done) * 2 + copy + data, cuts):
            for piece in framing.feed(part):
                ends += [size for kind, _, size in piece.messages if kind == ord("c")]
        assert ends == [21, 21]
        assert framing.copied.payload == 7
