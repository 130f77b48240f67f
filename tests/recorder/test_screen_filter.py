"""Hostile output against the filter: a collection, and properties that hold for anything."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.screen_filter import LONGEST_STRING, ScreenFilter


def shown(*pieces: str, area: tuple[int, int] | None = None) -> str:
    screen = ScreenFilter(area)
    return "".join(screen.feed(piece) for piece in pieces)


HOSTILE = {
    "window title": "\x1b]0;pwned\x07",
    "icon title ended by ST": "\x1b]1;pwned\x1b\\",
    "title in screen": "\x1bkpwned\x1b\\",
    "clipboard write": "\x1b]52;c;cm0gLXJmIH4K\x07",
    "clipboard query": "\x1b]52;c;?\x1b\\",
    "hyperlink": "\x1b]8;;file:///etc/passwd\x1b\\\x1b]8;;\x1b\\",
    "notification of iTerm": "\x1b]9;you won\x07",
    "notification of urxvt": "\x1b]777;notify;a;b\x07",
    "file transfer of iTerm": "\x1b]1337;File=name=eA==;inline=0:AAAA\x07",
    "palette": "\x1b]4;1;rgb:00/00/00\x07",
    "palette query": "\x1b]4;1;?\x07",
    "colour query": "\x1b]11;?\x1b\\",
    "working folder": "\x1b]7;file://host/x\x1b\\",
    "log file of old xterm": "\x1b]46;/tmp/x\x07",
    "font query": "\x1b]50;?\x07",
    "user-defined keys": "\x1bP0;1|17/726d0a\x1b\\",
    "DECRQSS": "\x1bP$qm\x1b\\",
    "termcap query": "\x1bP+q544e\x1b\\",
    "tmux passthrough": "\x1bPtmux;\x1b\x1b]52;c;eA==\x07\x1b\\",
    "sixel": "\x1bPq#0;2;0;0;0#0~~@@\x1b\\",
    "graphics of kitty": "\x1b_Gf=24,t=f;L2V0Yy9wYXNzd2Q=\x1b\\",
    "privacy message": "\x1b^x\x1b\\",
    "start of string": "\x1bXx\x1b\\",
    "status report": "\x1b[5n",
    "cursor report": "\x1b[6n",
    "private cursor report": "\x1b[?6n",
    "printer report": "\x1b[?15n",
    "device attributes": "\x1b[c\x1b[0c\x1b[>c\x1b[=c",
    "identify": "\x1bZ",
    "terminal parameters": "\x1b[x",
    "mode query": "\x1b[?25$p\x1b[4$p",
    "version query": "\x1b[>q",
    "checksum of a rectangle": "\x1b[1;1;1;1;1;1*y",
    "presentation report": "\x1b[1$w",
    "graphics query": "\x1b[?1;1;0S",
    "keyboard query of kitty": "\x1b[?u",
    "keyboard mode of kitty": "\x1b[>1u\x1b[=1u\x1b[<u",
    "modify other keys": "\x1b[>4;2m\x1b[?4m",
    "print screen": "\x1b[i\x1b[0i",
    "printer on and off": "\x1b[5i\x1b[4i\x1b[?5i",
    "window operations": "\x1b[3;0;0t\x1b[8;1;1t\x1b[2t",
    "title report": "\x1b[21t",
    "title mode": "\x1b[>2t",
    "132 columns": "\x1b[?3h",
    "application cursor keys": "\x1b[?1h",
    "application keypad": "\x1b=\x1b>\x1b[?66h",
    "mouse": "\x1b[?9h\x1b[?1000h\x1b[?1002h\x1b[?1003h\x1b[?1006h\x1b[?1015h",
    "mouse, highlighting": "\x1b[1;1;1;1;1T",
    "locator": "\x1b[1;2'z\x1b['|",
    "focus reports": "\x1b[?1004h",
    "bracketed paste": "\x1b[?2004h",
    "synchronised output": "\x1b[?2026h",
    "keyboard lock": "\x1b[2h",
    "line feed mode": "\x1b[20h",
    "margins left and right": "\x1b[?69h\x1b[2;3s",
    "saved modes": "\x1b[?1000s\x1b[?1000r",
    "scrollback": "\x1b[3J\x1b[?3J",
    "tabs": "\x1bH\x1b[g\x1b[3g",
    "cursor shape": "\x1b[5 q",
    "LEDs": "\x1b[1q",
    "Linux console: bell, blanking": "\x1b[10;9999]\x1b[9;1]",
    "conformance level": "\x1b[61;1\"p",
    "8-bit answers": "\x1b G",
    "another character set": "\x1b%@",
    "locking shifts": "\x1bn\x1bo\x1b}",
    "memory lock": "\x1bl",
    "C1 controls": "".join(map(chr, range(0x80, 0xA0))),
    "C0 controls that do not draw": "\x00\x01\x05\x07\x10\x11\x13\x14\x7f",
    "a sequence without end": "\x1b[" + "1;" * 10_000 + "H",
    "control inside a sequence": "\x1b[6\x05n",
}  # fmt: skip

DRAWING = {
    "text": "plain text, ünïcode 東京 🙂\r\n\tx\b \x0b\x0c",
    "colours": "\x1b[m\x1b[1;31m\x1b[38;2;1;2;3m\x1b[38:2::1:2:3m\x1b[4:3m",
    "cursor": "\x1b[H\x1b[3;4H\x1b[A\x1b[2B\x1b[C\x1b[D\x1b[E\x1b[F\x1b[5G\x1b[2d\x1b[3a\x1b[2e\x1b[6`\x1b[1;2f",
    "erasing": "\x1b[J\x1b[2J\x1b[K\x1b[1K\x1b[3X\x1b[?J\x1b[?2K",
    "inserting and deleting": "\x1b[4h\x1b[@\x1b[L\x1b[M\x1b[P\x1b[4l\x1b[3b",
    "scrolling": "\x1b[2;5r\x1b[r\x1b[S\x1b[2T\x1bD\x1bM\x1bE",
    "saved cursor": "\x1b7\x1b8\x1b[s\x1b[u",
    "alternate screen": "\x1b[?1049h\x1b[?1049l\x1b[?47h\x1b[?1047l\x1b[?1048h",
    "modes that draw": "\x1b[?25l\x1b[?25h\x1b[?7l\x1b[?5h\x1b[?6h",
    "line drawing": "\x1b(0lqqk\x1b(B\x0e\x0f\x1b)0",
    "tabs": "\x1b[I\x1b[Z",
    "alignment": "\x1b#8\x1b#6",
}


@pytest.mark.parametrize("sequence", HOSTILE.values(), ids=HOSTILE)
def test_what_acts_on_the_world_is_dropped(sequence: str) -> None:
    assert shown(f"a{sequence}b") == "ab"


@pytest.mark.parametrize("sequence", DRAWING.values(), ids=DRAWING)
def test_what_draws_passes_unchanged(sequence: str) -> None:
    assert shown(sequence) == sequence


def test_of_several_modes_only_the_drawing_ones_pass() -> None:
    assert shown("\x1b[?1000;25;2004l") == "\x1b[?25l"


def test_a_bell_inside_data_does_not_end_it() -> None:
    assert shown("\x1bPq\x07#0\x1b\\x") == "x"


@pytest.mark.parametrize("stop", ["\x18", "\x1a", "\x1b\\", "\x9c"])
def test_cancel_escape_and_terminators_end_a_string(stop: str) -> None:
    assert shown(f"\x1bPq{stop}seen") == "seen"
    assert shown(f"\x1b]0;{stop}seen") == "seen"


def test_a_new_sequence_inside_a_string_is_read_as_such() -> None:
    assert shown("\x1b]0;x\x1b[31mred") == "\x1b[31mred"


def test_a_string_of_text_cannot_hide_the_next_line() -> None:
    """Consoles that do not know it would have shown it to the user, and not to the auditor."""
    assert shown("\x1b]0;x\r\nrm -rf /\r\n") == "\nrm -rf /\r\n"


def test_a_string_that_nothing_ends_is_text_again_after_a_while() -> None:
    assert shown("\x1bP" + "q" * LONGEST_STRING + "seen") == "seen"


def test_an_escape_starts_anew_wherever_it_stands() -> None:
    assert shown("\x1b[12\x1b[3\x1b(\x1b[1mx") == "\x1b[1mx"


def test_numbers_are_bounded() -> None:
    """Repeating a character a billion times would hang the auditor's terminal."""
    assert shown("\x1b[999999999b") == "\x1b[9999b"


def test_addressing_stays_inside_the_area() -> None:
    assert shown("\x1b[999;999H\x1b[99d\x1b[99G", area=(80, 24)) == "\x1b[24;80H\x1b[24d\x1b[80G"


def test_scrolling_stays_inside_the_area() -> None:
    assert shown("\x1b[r\x1b[5;99r\x1b[99r", area=(80, 24)) == "\x1b[1;24r\x1b[5;24r"
    assert shown("\x1bc", area=(80, 24)).count("\x1b[1;24r") == 1


def test_restoring_leaves_the_alternate_screen_only_when_on_it() -> None:
    screen = ScreenFilter()
    assert "1049l" not in screen.restore()
    screen.feed("\x1b[?1049h")
    assert "1049l" in screen.restore()


def test_a_full_reset_leaves_the_alternate_screen_and_clears() -> None:
    out = shown("\x1b[?1049h\x1bc")
    assert out.endswith("\x1b[H\x1b[2J") and "\x1b[?1049l" in out


ANYTHING = st.text(
    st.one_of(
        st.sampled_from("\x1b\x1b\x1b[]()PX^_k?>=!$;:019mhlHJKrntiqcsu\\ \x07\x18\x9b\x9d\x9c\n\r"),
        st.characters(codec="utf-8"),
    )
)
_PASSABLE = re.compile(
    r"[^\x00-\x07\x10-\x1f\x7f-\x9f]"
    r"|\x1b[78DEM]|\x1b[()*+][0AB]|\x1b#[34568]"
    r"|\x1b\[\??[012]?[JK]|\x1b\[[su]|\x1b\[4[hl]|\x1b\[\?(5|6|7|25|47|1047|1048|1049)[hl]"
    r"|\x1b\[[0-9;:]*m|\x1b\[[0-9;]*[@A-IL-MPSTXZ`abdefrJK]"
)


@given(ANYTHING)
def test_only_what_is_allowed_ever_comes_out(text: str) -> None:
    """Checked by a pattern that shares nothing with the filter."""
    out = shown(text)
    assert "".join(match[0] for match in _PASSABLE.finditer(out)) == out


@given(ANYTHING, st.lists(st.integers(0, 200), max_size=6))
def test_how_the_text_is_cut_does_not_matter(text: str, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(bounds)]
    assert shown(*pieces) == shown(text) == shown(*text)


@given(ANYTHING)
def test_what_was_filtered_passes_as_it_is(text: str) -> None:
    assert shown(shown(text)) == shown(text)


@given(ANYTHING)
def test_text_after_a_cancel_is_always_seen(text: str) -> None:
    assert shown(text + "\x18seen").endswith("seen")
