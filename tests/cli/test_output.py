from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.output import Column, clean, print_json, print_rows

COLUMNS = [
    Column(key="id", title="ID", is_whole=True),
    Column(key="size", title="SIZE", is_number=True, show=lambda size: f"{size} B"),
    Column(key="command", title="COMMAND"),
]
ROWS = [{"id": "a", "size": 5, "command": "ls [red]x[/red]"}, {"id": "bb", "size": 1234, "command": None}]


def test_a_table_in_a_pipe_has_whole_lines_and_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    long = {"id": "c", "size": 1, "command": "x" * 500}
    print_rows([*ROWS, long], COLUMNS, as_json=False, empty="")
    assert capsys.readouterr().out.splitlines() == [
        "ID    SIZE  COMMAND",
        "a      5 B  ls [red]x[/red]",
        "bb  1234 B",
        f"c      1 B  {'x' * 500}",
    ]


def test_no_rows_are_a_word_on_stderr_and_an_empty_list_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], COLUMNS, as_json=False, empty="Nothing yet.")
    assert tuple(capsys.readouterr()) == ("", "Nothing yet.\n")
    print_rows([], COLUMNS, as_json=True, empty="Nothing yet.")
    assert tuple(capsys.readouterr()) == ("[]\n", "")


def test_rows_in_json_keep_values_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, COLUMNS, as_json=True, empty="")
    assert json.loads(capsys.readouterr().out) == ROWS


@given(st.text())
def test_clean_text_cannot_steer_a_terminal(text: str) -> None:
    assert clean(text).isprintable()
    if text.isprintable():
        assert clean(text) == text


def test_neither_tables_nor_json_pass_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;x\x07\x9b2J\u202e\r\n\U000e0001"
    row = {"id": evil, evil: evil}
    print_rows([row], [Column(key="id", title="ID")], as_json=False, empty="")
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())
    print_rows([row], [], as_json=True, empty="")
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.splitlines())
    assert json.loads(printed) == [row]


def test_json_knows_paths_times_durations_and_dataclasses(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass
    class Point:
        x: int

    print_json([Path("/a"), datetime(2026, 11, 24, tzinfo=UTC), timedelta(minutes=1), Point(1), (1,)])
    assert json.loads(capsys.readouterr().out) == ["/a", "2026-11-24T00:00:00+00:00", 60, {"x": 1}, [1]]


def test_a_table_in_a_narrow_terminal_keeps_ids_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run under a real terminal of 30 columns; the id column is not broken, the command is folded."""
    import pty
    import subprocess
    import sys

    code = (
        "from cli.output import *\n"
        "print_rows([{'id': '261124-k7f3m9q', 'c': 'word ' * 20}],"
        " [Column(key='id', title='ID', is_whole=True), Column(key='c', title='C')], as_json=False, empty='')"
    )
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "30", "TERM": "xterm", "NO_COLOR": "1"}
    try:
        subprocess.run([sys.executable, "-c", code], stdout=follower, env=environment, check=True)
        lines = os.read(leader, 65536).decode().splitlines()
    finally:
        os.close(follower)
        os.close(leader)
    assert lines[1].startswith("261124-k7f3m9q  word")
    assert all(len(line) <= 30 for line in lines)
    assert len(lines) > 5
