"""What counts as a line that somebody could read, and one that somebody typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.search_grid import LONGEST_LINE
from recorder.search_screen import SeenScreen
from recorder.search_typed import TypedLines

Pieces = tuple[float, str]


def seen(*pieces: Pieces, columns: int = 20, rows: int = 5) -> list[str]:
    lines: list[str] = []
    screen = SeenScreen(columns, rows, lambda time, text: lines.append(text))
    for time, text in pieces:
        screen.feed(time, text)
    screen.end()
    return lines


def typed(keys: str) -> list[str]:
    lines: list[str] = []
    line = TypedLines(lambda time, text: lines.append(text))
    line.feed(0.0, keys)
    line.end()
    return lines


def test_colours_and_titles_are_no_text() -> None:
    assert seen((0, "\x1b]0;title\x07\x1b[31mred\x1b[m and \x1b(Bplain\r\n")) == ["red and plain"]


def test_a_sequence_cut_in_two_is_no_text_either() -> None:
    assert seen((0, "a\x1b[3"), (0, "1mb\x1b]0;ti"), (0, "tle\x1b\\c")) == ["abc"]


def test_a_progress_bar_leaves_its_last_state_only() -> None:
    states = [(at / 100, f"\r{at}% [{'#' * (at // 10)}]") for at in range(0, 101, 10)]
    assert seen(*states, (1.2, "\r\x1b[Kdone\r\n")) == ["done"]


def test_what_stood_for_a_second_is_found_though_it_was_overwritten() -> None:
    assert seen((0, "waiting for lock\r"), (5, "\x1b[Kready\r\n")) == ["waiting for lock", "ready"]


def test_backspace_corrects_what_is_on_the_line() -> None:
    assert seen((0, "sl\b\bls /etc")) == ["ls /etc"]


def test_a_long_line_is_one_line_however_the_terminal_wraps_it() -> None:
    long = "/very/long/path" * 9 + "/END"
    assert seen((0, f"$ cat {long}\r\nnext\r\n" + "x\r\n" * 9))[0] == f"$ cat {long}"


def test_a_line_without_end_is_told_in_pieces_that_overlap() -> None:
    lines = seen((0, "".join(f"<{at}>" for at in range(3000))))
    assert len(lines) > 1
    assert all(len(line) <= 2 * LONGEST_LINE for line in lines)
    for at in range(2990):
        wanted = f"<{at}><{at + 1}>"
        assert any(wanted in line for line in lines), wanted


def test_each_page_of_a_full_screen_program_is_found_and_the_shell_below_is_as_before() -> None:
    lines = seen(
        (0, "$ less notes\r\n\x1b[?1049h\x1b[2J\x1b[Hfirst page\x1b[2;1Hroot:x:0:0"),
        (3, "\x1b[Hsecond page\x1b[K\x1b[2;1Hdaemon:x:1:1"),
        (6, "\x1b[?1049l$ exit\r\n"),
    )
    assert lines == ["first page", "root:x:0:0", "second page", "daemon:x:1:1", "$ less notes", "$ exit"]


def test_a_page_drawn_again_and_again_is_told_at_its_first_and_its_last() -> None:
    draw = "\x1b[H\x1b[2Jtop - 3 users\x1b[2;1Hroot 1 init"
    assert seen(*((at * 3, draw) for at in range(50))) == ["top - 3 users", "root 1 init"] * 2


def test_text_inserted_above_or_scrolled_in_a_region_is_found() -> None:
    lines = seen((0, "\x1b[2;4r\x1b[4;1Hone\r\ntwo\r\nthree\r\nfour\r\n\x1b[2;1H\x1b[Lzero"))
    assert set(lines) == {"zero", "one", "two", "three", "four"}


def test_clear_does_not_hide_what_was_printed() -> None:
    assert seen((0, "secret plan\r\n"), (0.1, "\x1b[H\x1b[2J\x1b[3J$ ")) == ["secret plan", "$"]


def test_wide_characters_keep_the_columns_right() -> None:
    assert seen((0, "日本語 text\x1b[7GX")) == ["日本語Xtext"]


def test_line_drawing_is_no_text() -> None:
    assert seen((0, "\x1b(0lqqqk\x1b(B menu \x1b(0x\x1b(B")) == ["menu"]


def test_a_window_made_smaller_and_larger_loses_no_line() -> None:
    lines: list[str] = []
    screen = SeenScreen(20, 5, lambda time, text: lines.append(text))
    screen.feed(0, "a\r\nb\r\nc\r\nd\r\ne")
    screen.resize(10, 2)
    screen.resize(30, 8)
    screen.feed(1, "\r\nf")
    screen.end()
    assert lines == ["a", "b", "c", "d", "e", "f"]


@given(
    st.lists(
        st.text(st.sampled_from("ab \r\n\b\t\x1b[]?;01234hlHJKLMPSTXr@78D\x07日"), max_size=40), max_size=20
    )
)
def test_whatever_a_program_writes_is_survived(pieces: list[str]) -> None:
    seen(*((at / 2, piece) for at, piece in enumerate(pieces)), columns=7, rows=3)


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ("ls -l\rexit\r", ["ls -l", "exit"]),
        ("lx\x7fs\r", ["ls"]),
        ("cat one two\x17three\r", ["cat one three"]),
        ("rm -rf /\x15ls\r", ["ls"]),
        ("sleep 9\x03\r", ["sleep 9"]),
        ("ad\x1b[Db\x1b[C!\r", ["abd!"]),
        ("b\x01a\x05c\r", ["abc"]),
        ("\x1bOA\x1b[A\x1b[200~pasted\x1b[201~\r", ["pasted"]),
        ("not entered", ["not entered"]),
    ],
)
def test_keys_make_the_line_that_the_person_meant(keys: str, lines: list[str]) -> None:
    assert typed(keys) == lines
