"""Keys out of bytes, however they are cut and whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.terminal.keyboard import Key, KeyDecoder


def keys(*packets: bytes | None) -> list[Key | str]:
    decoder = KeyDecoder()
    return [key for packet in packets for key, _ in decoder.decode(packet)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\r", ["a", Key.ENTER]),
        (b"\x1b[A\x1bOB\x1b[5~\x1b[1~\x1b[4~", [Key.UP, Key.DOWN, Key.PAGE_UP, Key.HOME, Key.END]),
        (b"\x1b[1;2C\x1b[1;2D\x1b[1;5A\x1b[Z", [Key.SHIFT_RIGHT, Key.SHIFT_LEFT, Key.UP, Key.BACK_TAB]),
        ("é東".encode(), ["é", "東"]),
        (b"\xc3q\xff\x03", ["q", Key.INTERRUPT]),
        (b"\x1b[200~x\x1b[201~", ["x"]),
        (b"\x1b[?1;2c\x1b[24;80Ry", ["y"]),
        (b"\x1bfz", ["z"]),
        (b"\x1b[1\x03", [Key.INTERRUPT]),
        (b"\x1b[" + b"1" * 100_000 + b"Ax", ["x"]),
        (b"\xc2\x9b\xe2\x80\xae", []),
    ],
)
def test_bytes_become_keys(data: bytes, expected: list[Key | str]) -> None:
    assert keys(data) == expected


def test_an_escape_that_nothing_follows_is_the_escape_key() -> None:
    assert keys(b"\x1b", None, b"[A") == [Key.ESCAPE, "[", "A"]
    assert keys(b"\x1b[", None, b"A") == ["A"]


@given(st.lists(st.binary(max_size=6), max_size=12))
def test_how_the_bytes_are_cut_does_not_matter(packets: list[bytes]) -> None:
    assert keys(*packets) == keys(b"".join(packets))


@given(st.binary(max_size=60))
def test_a_key_is_printable_or_named(data: bytes) -> None:
    assert all(isinstance(key, Key) or (len(key) == 1 and key.isprintable()) for key in keys(data))
