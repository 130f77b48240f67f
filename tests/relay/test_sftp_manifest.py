"""The manifest of SFTP as a conversation: packets in, facts out."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastion.relay.files import Manifest, note_of
from bastion.relay.sftp_manifest import MAX_AHEAD, MAX_ASKED, MAX_OPEN, SftpManifest
from bastion.relay.sftp_packets import MAX_PACKET, MAX_PATH, Kind, Unreadable
from recorder.events import Event, FileHandled, Input, Noted, Output


def packet(kind: Kind, *fields: int | bytes | tuple[int, int]) -> bytes:
    """A packet; a number has 4 bytes, or as many as the second of a pair says."""
    body = bytes([kind])
    for value in fields:
        match value:
            case bytes():
                body += len(value).to_bytes(4) + value
            case int():
                body += value.to_bytes(4)
            case (number, size):
                body += number.to_bytes(size)
    return len(body).to_bytes(4) + body


def opened(flags: int, manifest: SftpManifest) -> None:
    assert list(manifest.asked(packet(Kind.INIT, 3) + packet(Kind.OPEN, 1, b"f", flags, 0)))
    answers = packet(Kind.VERSION, 3) + packet(Kind.HANDLE, 1, b"h")
    assert [file.result for file in manifest.answered(answers)] == ["ok"]


def write(number: int, offset: int, data: bytes) -> bytes:
    return packet(Kind.WRITE, number, b"h", (offset, 8), data)


def read(number: int, offset: int, size: int) -> bytes:
    return packet(Kind.READ, number, b"h", (offset, 8), size)


def test_reads_that_are_asked_for_before_the_close_but_answered_after_it_are_digested() -> None:
    manifest = SftpManifest()
    opened(1, manifest)
    asked = read(2, 0, 3) + read(3, 3, 3) + packet(Kind.CLOSE, 4, b"h")
    assert list(manifest.asked(asked)) == []
    assert list(manifest.answered(packet(Kind.DATA, 2, b"abc") + packet(Kind.DATA, 3, b"def"))) == []
    sha256 = hashlib.sha256(b"abcdef").hexdigest()
    told = [FileHandled("received", "f", size=6, sha256=sha256)]
    assert list(manifest.answered(packet(Kind.STATUS, 4, 0, b"", b""))) == told


@given(order=st.permutations(range(1, 6)))
def test_pieces_may_come_in_any_order_after_the_first(order: list[int]) -> None:
    manifest, data = SftpManifest(), random.Random(1).randbytes(600)
    opened(2, manifest)
    for number in (0, *order):
        list(manifest.asked(write(10 + number, number * 100, data[number * 100 :][:100])))
    (sent,) = manifest.asked(packet(Kind.CLOSE, 4, b"h"))
    assert (sent.size, sent.sha256) == (600, hashlib.sha256(data).hexdigest())


def test_file_that_is_written_twice_in_one_place_has_no_digest() -> None:
    manifest = SftpManifest()
    opened(2, manifest)
    list(manifest.asked(write(2, 0, b"good") + write(3, 0, b"evil")))
    (sent,) = manifest.asked(packet(Kind.CLOSE, 4, b"h"))
    assert (sent.size, sent.sha256) == (8, None)


def test_what_waits_for_its_place_is_bounded_and_then_there_is_no_digest() -> None:
    manifest, piece = SftpManifest(), bytes(256 * 1024)
    opened(2, manifest)
    list(manifest.asked(write(2, 0, b"first")))
    for number in range(3, 5 + 2 * MAX_AHEAD // len(piece)):
        list(manifest.asked(write(number, number * len(piece), piece)))
        assert manifest._waiting.size <= MAX_AHEAD + len(piece)
    (sent,) = manifest.asked(packet(Kind.CLOSE, 4_000, b"h"))
    assert sent.sha256 is None and manifest._waiting.size == 0


def test_gap_that_is_never_filled_leaves_no_digest_and_nothing_behind() -> None:
    manifest = SftpManifest()
    opened(2, manifest)
    list(manifest.asked(write(2, 0, b"first") + write(3, 100, b"last")))
    (sent,) = manifest.asked(packet(Kind.CLOSE, 4, b"h"))
    assert (sent.size, sent.sha256, manifest._waiting.size) == (9, None, 0)


def test_resumed_file_is_told_from_where_it_goes_on() -> None:
    manifest = SftpManifest()
    opened(2, manifest)
    list(manifest.asked(write(2, 500, b"rest")))
    (sent,) = manifest.asked(packet(Kind.CLOSE, 4, b"h"))
    assert (sent.offset, sent.size, sent.sha256) == (500, 4, hashlib.sha256(b"rest").hexdigest())


@pytest.mark.parametrize(
    "bad",
    [
        packet(Kind.WRITE, 9, b"never given", (0, 8), b"data"),
        packet(Kind.READ, 9, b"never given", (0, 8), 4),
        packet(Kind.READ, 9, b"h", (0, 8), 4) + packet(Kind.READ, 9, b"h", (4, 8), 4),
        packet(Kind.WRITE, 9, b"h", (0, 8), b"data", b"hidden behind it"),
        packet(Kind.REMOVE, 9, b"x" * (MAX_PATH + 1)),
        b"".join(packet(Kind.REMOVE, number, b"f") for number in range(100, 102 + MAX_OPEN)),
        b"".join(packet(Kind.READ, n, b"h", (n, 8), 1) for n in range(100, 102 + MAX_ASKED)),
        packet(Kind.OPEN, 9, b"a path and nothing more"),
        packet(Kind.DATA, 9, b"from a client"),
        b"\0\0\0\1\x63",
        b"\0\0\0\0",
        (MAX_PACKET + 1).to_bytes(4),
    ],
)
def test_what_is_not_understood_is_not_passed_over(bad: bytes) -> None:
    manifest = SftpManifest()
    opened(3, manifest)
    with pytest.raises(Unreadable):
        list(manifest.asked(bad))


def test_data_that_nobody_asked_for_is_not_passed_over() -> None:
    manifest = SftpManifest()
    opened(1, manifest)
    with pytest.raises(Unreadable):
        list(manifest.answered(packet(Kind.DATA, 77, b"smuggled")))


@given(cuts=st.lists(st.integers(1, 400), max_size=20))
def test_cut_of_the_stream_makes_no_difference(cuts: list[int]) -> None:
    manifest = SftpManifest()
    opened(2, manifest)
    stream = b"".join(write(10 + n, n * 90, bytes([n]) * 90) for n in range(5)) + packet(Kind.CLOSE, 4, b"h")
    told: list[FileHandled] = []
    for cut in cuts:
        told += manifest.asked(stream[:cut])
        stream = stream[cut:]
    told += manifest.asked(stream)
    expected = b"".join(bytes([n]) * 90 for n in range(5))
    assert told == [FileHandled("sent", "f", size=450, sha256=hashlib.sha256(expected).hexdigest())]


def test_from_the_first_packet_that_makes_no_sense_all_bytes_of_both_sides_are_kept() -> None:
    account = Manifest(SftpManifest(), keep_contents=False)
    good, half = packet(Kind.REMOVE, 1, b"f"), packet(Kind.STATUS, 1, 0, b"", b"")
    assert account.downward([Output(half[:7])]) == []
    events: list[Event] = [*account.upward([Input(good + b"\0\0\0\0bad")])]
    assert events[0] == FileHandled("remove", "f")
    assert isinstance(events[1], Noted)
    assert events[2:] == [Input(b"\0\0\0\0bad"), Output(half[:7])]
    assert account.upward([Input(b"more")]) == [Input(b"more")]
    assert account.downward([Output(half[7:])]) == [Output(half[7:])]


def test_note_for_people_shows_no_control_characters() -> None:
    shown = note_of(FileHandled("rename", "a\x1b[2J", to="b\n", result="permission denied"))
    assert shown == r"files: rename a\x1b[2J to b\n (permission denied)"
