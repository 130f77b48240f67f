"""Recorded sessions as a table for people and as records for programs. Pure: whoever asks may see the rows.

Used by `ssh bastion sessions` and by `bastion sessions`. Whatever a row says came from outside: control characters are
taken out of the table, and JSON escapes what is not ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from io import StringIO

from recorder.catalog import LIVE, SessionRow
from recorder.terminal.text import cut, plain

_LONGEST_CELL = 60
_GOOD = ("exited", LIVE)
_COLOURS = {
    LIVE: "green",
    "exited": "",
    "killed": "yellow",
    "client disconnected": "yellow",
    "server stopped": "yellow",
}


def as_record(row: SessionRow) -> dict[str, object]:
    """*row* with plain values: times as ISO 8601 in UTC, the duration in seconds."""
    return {
        "id": row.id,
        "user": row.user,
        "groups": list(row.groups),
        "target": row.target,
        "kind": row.kind,
        "login": row.login,
        "action": row.action,
        "command": row.command,
        "started_at": _iso(row.started_at),
        "ended_at": None if row.ended_at is None else _iso(row.ended_at),
        "duration": None if row.ended_at is None else round(row.ended_at - row.started_at, 3),
        "ending": row.ending,
        "exit_status": row.exit_status,
        "output_bytes": row.output_bytes,
        "input_bytes": row.input_bytes,
    }


def json_lines(rows: Iterable[SessionRow]) -> str:
    """One JSON object a line."""
    return "".join(f"{json.dumps(as_record(row))}\n" for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    title: str
    show: Callable[[SessionRow], str]
    from_width: int = 0
    """Width of the table from which the column is shown."""
    least: int = 4


def table(
    rows: Sequence[SessionRow], *, width: int, now: float, colour: bool = False, zone: tzinfo | None = None
) -> str:
    """*rows* in a table at most *width* cells wide, a line each; *zone* is that of the times shown (None: UTC).

    The narrower, the fewer columns: id, user, target and ending always stay.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    output = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    columns = [column for column in _columns(now, zone or UTC) if width >= column.from_width]
    for column in columns:
        output.add_column(
            column.title,
            no_wrap=True,
            overflow="ellipsis",
            min_width=column.least,
            justify="right" if column.title == "LASTED" else "left",
        )
    for row in rows:
        cells = [Text(cut(plain(column.show(row)), _LONGEST_CELL)) for column in columns]
        cells[-1].stylize(_COLOURS.get(row.ending, "red"))
        output.add_row(*cells)
    text = StringIO()
    console = Console(
        file=text,
        width=width + 2,  # the last column has a padding too, which nobody sees
        color_system="standard" if colour else None,
        force_terminal=colour,
        highlight=False,
    )
    console.print(output)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _columns(now: float, zone: tzinfo) -> list[_Column]:
    name = datetime.fromtimestamp(now, zone).tzname() or ""
    return [
        _Column(title="ID", show=lambda row: row.id, least=14),
        _Column(
            title=f"STARTED ({name})", show=lambda row: _moment(row.started_at, zone), from_width=76, least=16
        ),
        _Column(title="LASTED", show=lambda row: lasted(row, now), from_width=56, least=6),
        _Column(title="USER", show=lambda row: row.user),
        _Column(title="GROUPS", show=lambda row: ", ".join(row.groups), from_width=110),
        _Column(
            title="TARGET", show=lambda row: f"{row.login}@{row.target}" if row.login else row.target, least=8
        ),
        _Column(title="WHAT", show=lambda row: row.command or row.action, from_width=100),
        _Column(title="ENDED", show=ended, least=8),
    ]


def ended(row: SessionRow) -> str:
    """How a session ended: `exited 0`, `killed`, `live`."""
    return row.ending if row.exit_status is None else f"{row.ending} {row.exit_status}"


def lasted(row: SessionRow, now: float) -> str:
    """How long a session took, or has taken so far: `12s`, `3m04s`, `1h02m`."""
    seconds = int(max((now if row.ended_at is None else row.ended_at) - row.started_at, 0))
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}h{minute:02}m" if hours else f"{minutes}m{second:02}s" if minutes else f"{second}s"


def _moment(time: float, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(time, zone):%Y-%m-%d %H:%M}"


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")
