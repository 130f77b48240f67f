from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bastion.ssh.session_table import json_lines, lasted, table
from recorder.catalog import LIVE, SessionRow
from recorder.names import SessionId
from recorder.terminal.text import width

ROW = SessionRow(
    id=SessionId("261124-k7f3m9q"),
    path=Path("/recordings/x.cast"),
    user="ada",
    groups=("ops", "dba"),
    target="web-1",
    kind="ssh",
    login="deploy",
    action="shell",
    command="",
    started_at=1_795_500_000.25,
    ended_at=1_795_500_062.75,
    ending="exited",
    exit_status=3,
    output_bytes=10,
    input_bytes=2,
    facts={},
)
ROWS = [
    ROW,
    replace(ROW, ending=LIVE, ended_at=None, exit_status=None, user="東京" * 10, login=""),
    replace(
        ROW,
        command="echo \x1b]0;x\x07" + "y" * 200,
        action="exec",
        target="db\x9b2J",
        ending="client disconnected",
    ),
]


def lines(cells: int, *, colour: bool = False) -> list[str]:
    return table(ROWS, width=cells, now=1_795_500_100.0, colour=colour).splitlines()


def test_a_row_says_who_where_when_how_long_and_how_it_ended() -> None:
    shown = " ".join(lines(200)[1].split())
    assert shown == "261124-k7f3m9q 2026-11-24 06:00 1m02s ada ops, dba deploy@web-1 shell exited 3"


def test_the_widest_columns_shrink_first() -> None:
    row = table([replace(ROW, command="y" * 200)], width=110, now=0).splitlines()[1]
    assert "ada   ops, dba  deploy@web-1  yyyyyy" in row and row.endswith("yy…  exited 3")


@pytest.mark.parametrize("cells", [30, 45, 60, 80, 100, 120, 200])
def test_a_table_fits_its_width_and_keeps_ids_whole(cells: int) -> None:
    shown = lines(cells)
    assert len(shown) == 4
    assert all(width(line) <= cells for line in shown)
    assert all(line.startswith("261124-k7f3m9q  ") for line in shown[1:])


def test_no_control_character_comes_through() -> None:
    assert all(line.isprintable() for line in lines(200))


def test_colour_is_there_when_asked_for() -> None:
    assert "\x1b[32mlive" in "\n".join(lines(120, colour=True))


@pytest.mark.parametrize(("seconds", "shown"), [(0.5, "0s"), (59, "59s"), (184, "3m04s"), (3725, "1h02m")])
def test_durations_are_short(seconds: float, shown: str) -> None:
    assert lasted(replace(ROW, ended_at=ROW.started_at + seconds), 0) == shown


def test_a_live_session_lasts_until_now() -> None:
    assert lasted(replace(ROW, ended_at=None), ROW.started_at + 5) == "5s"


def test_json_is_a_record_a_line_in_ascii() -> None:
    text = json_lines(ROWS)
    records = [json.loads(line) for line in text.splitlines()]
    assert text.isascii() and "\x1b" not in text
    assert (records[0]["duration"], records[1]["ended_at"], records[1]["ending"]) == (62.5, None, "live")
