"""Filtering, logins and the look of the picker, without a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastion.ssh.picker_list import Choice, PickerList
from bastion.ssh.picker_match import Entry, Row, search
from bastion.ssh.picker_view import View, paint
from recorder.terminal.abilities import Abilities, abilities_of
from recorder.terminal.keyboard import Key
from recorder.terminal.text import width

ENTRIES = (
    Entry(name="web-1", description="Front", logins=("deploy", "root"), labels={"env": "prod"}),
    Entry(name="proxy-web", description="Edge", logins=("deploy",), labels={"env": "staging"}),
    Entry(name="web", description="mail to ada@corp", logins=("dba", "d*")),
    Entry(name="db-1", kind="postgres", description="behind the web", logins=("reader",)),
)
ROWS = [Row(entry) for entry in ENTRIES]


def names(query: str) -> list[str]:
    return [match.row.name for match in search(ROWS, query)]


def typed(text: str) -> PickerList:
    state = PickerList(ENTRIES)
    for char in text:
        state.press(char)
    return state


def test_the_best_match_comes_first() -> None:
    assert names("web") == ["web", "web-1", "proxy-web", "db-1"]


def test_every_word_must_be_found_anywhere() -> None:
    assert names("web staging") == ["proxy-web"]
    assert names("web prod xyz") == []


def test_case_does_not_matter_and_kinds_are_found() -> None:
    assert names("FRONT") == ["web-1"]
    assert names("postg") == ["db-1"]


def test_scattered_letters_are_found_in_names() -> None:
    assert names("pxw") == ["proxy-web"]


def test_matched_letters_are_marked() -> None:
    match = search(ROWS, "pxw edge")[0]
    assert match.name_marks == {0, 3, 6}
    assert match.details_marks == {0, 1, 2, 3}


def test_marks_stay_true_where_lower_case_is_longer() -> None:
    assert search([Row(Entry(name="İstanbul-db"))], "db")[0].name_marks == {9, 10}


def test_a_login_before_an_at_filters_and_is_taken() -> None:
    state = typed("root@")
    assert [match.row.name for match in state.found] == ["web-1"]
    choice = state.press(Key.ENTER)
    assert isinstance(choice, Choice) and choice.login == "root"


def test_a_login_pattern_offers_what_is_typed_and_never_itself() -> None:
    assert typed("dan@web").login_of(ENTRIES[2]) == "dan"
    only_pattern = Entry(name="x", logins=("*",))
    assert PickerList([only_pattern]).login_of(only_pattern) is None


def test_an_at_in_a_description_is_found() -> None:
    assert [match.row.name for match in typed("ada@corp").found] == ["web"]


def test_editing_the_filter() -> None:
    state = typed("web prod")
    state.press(Key.DELETE_WORD)
    assert state.query == "web"
    state.press(Key.BACKSPACE)
    assert state.query == "we"
    state.press(Key.DELETE_LINE)
    assert (state.query, len(state.found)) == ("", 4)


def test_moving_stops_at_both_ends() -> None:
    state = PickerList([Entry(name=f"n{i}") for i in range(50)])
    state.height = 10
    for key, selected in [
        (Key.UP, 0), (Key.DOWN, 1), (Key.PAGE_DOWN, 10), (Key.PAGE_UP, 1), (Key.END, 49), (Key.DOWN, 49),
        (Key.PAGE_DOWN, 49), (Key.HOME, 0),
    ]:  # fmt: skip
        state.press(key)
        assert state.selected == selected


def test_other_entries_leave_what_is_typed_and_selected() -> None:
    state = PickerList([Entry(name=f"api-{i}") for i in range(5)] + [Entry(name="db")])
    for char in "api":
        state.press(char)
    state.press(Key.DOWN)
    state.press(Key.DOWN)
    assert not state.renew([row.entry for row in state.rows])
    assert state.renew([Entry(name=f"api-{i}") for i in (0, 2, 7)])
    assert state.query == "api"
    assert [match.row.name for match in state.found] == ["api-0", "api-2", "api-7"]
    assert state.current is not None
    assert state.current.row.name == "api-2"
    assert state.renew([])
    assert state.current is None
    assert state.press(Key.ENTER) is None


def test_enter_on_nothing_keeps_the_list_open() -> None:
    assert typed("zzz").press(Key.ENTER) is None


def visible(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


@given(
    columns=st.integers(1, 250),
    rows=st.integers(1, 70),
    query=st.text("web1 東@", max_size=8),
    notice=st.text("ab\n\x1b東", max_size=60),
    entries=st.lists(st.text(min_size=1, max_size=30), max_size=40),
    help_=st.booleans(),
)
def test_a_frame_never_exceeds_the_screen(
    columns: int, rows: int, query: str, notice: str, entries: list[str], help_: bool
) -> None:
    """Whatever the size and the data, lines fit the width, there are no more than rows, the cursor is inside."""
    state = PickerList([Entry(name=name, description=name * 3, logins=(name, "root")) for name in entries])
    view = View(
        state,
        Abilities(colour=True, unicode=True),
        heading="x" * 90,
        notice=notice,
        ssh_command="ssh -t bastion",
    )
    for char in query + "?" * help_:
        state.press(char)
    frame = view.frame(columns, rows)
    assert len(frame.lines) == rows
    assert all(width(visible(line)) <= columns for line in frame.lines)
    assert all(visible(line).isprintable() for line in frame.lines)
    assert 0 <= frame.cursor[0] < rows and 0 <= frame.cursor[1] < columns


@pytest.mark.parametrize(("columns", "rows"), [(20, 5), (40, 10), (80, 24), (200, 60)])
def test_the_selected_row_is_always_in_sight(columns: int, rows: int) -> None:
    state = PickerList([Entry(name=f"n{i:03}") for i in range(300)])
    view = View(state, Abilities(colour=False, unicode=False), heading="", notice="", ssh_command="ssh")
    for key in [Key.DOWN] * 7 + [Key.PAGE_DOWN] * 4 + [Key.END, Key.PAGE_UP]:
        state.press(key)
        lines = [visible(line) for line in view.frame(columns, rows).lines]
        assert state.current and any(line.startswith(f"> {state.current.row.name}") for line in lines)


def test_the_command_to_copy_names_login_and_target() -> None:
    state = typed("web-1")
    view = View(
        state,
        Abilities(colour=False, unicode=False),
        heading="",
        notice="",
        ssh_command="ssh -p 22 -t b.example",
    )
    assert "$ ssh -p 22 -t b.example deploy@web-1" in map(visible, view.frame(80, 24).lines)
    assert "$ ssh ~ deploy@web-1" in map(visible, view.frame(25, 24).lines)


def test_no_colour_on_a_terminal_without() -> None:
    state = typed("web")
    look = abilities_of("vt100")
    assert look is not None
    frame = View(state, look, heading="a", notice="n", ssh_command="ssh").frame(80, 24)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m|\x1b\[2m", "".join(frame.lines))
    assert "".join(frame.lines).isascii()


@pytest.mark.parametrize(
    "term",
    ["xterm", "xterm-kitty", "screen.xterm-256color", "tmux-256color", "vt220", "linux", "rxvt-unicode"],
)
def test_common_terminals_are_known(term: str) -> None:
    assert abilities_of(term) is not None


@pytest.mark.parametrize("term", ["", "dumb", "unknown", "x" * 5000, "\x1b[0c", "emacs"])
def test_other_terminals_are_not(term: str) -> None:
    assert abilities_of(term) is None


def test_painting_the_same_frame_again_draws_no_line() -> None:
    frame = View(
        typed("w"), Abilities(colour=True, unicode=True), heading="", notice="", ssh_command=""
    ).frame(80, 24)
    assert b"\x1b[2K" not in paint(frame, frame)
