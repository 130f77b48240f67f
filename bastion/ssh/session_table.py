"""Recorded sessions as a table for people and as records for programs. Pure: whoever asks may see the rows.

Used by `ssh bastion sessions` and by `bastion sessions`. Whatever a row says came from outside: control characters are
taken out of the table, and JSON escapes what is not ASCII.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from recorder.catalog import LIVE, SessionRow
from recorder.names import is_encrypted
from recorder.terminal.text import cut, fit, plain
from recorder.terminal.text import width as cell_width

_LONGEST_CELL = 60
_GAP = 2
_STYLES = {
    "exited": "",
    LIVE: "\x1b[32m",
    "killed": "\x1b[33m",
    "client disconnected": "\x1b[33m",
    "ended by operator": "\x1b[33m",
    "server stopped": "\x1b[33m",
}
"""How an ending is coloured; any other is red."""


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
        "encrypted": is_encrypted(row.path),
    }


def json_lines(rows: Iterable[SessionRow]) -> str:
    """One JSON object a line."""
    return "".join(f"{json.dumps(as_record(row))}\n" for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """*from_width* is that of the table from which the column is shown; it shrinks down to *least* cells."""

    title: str
    show: Callable[[SessionRow], str]
    from_width: int = 0
    least: int


def table(
    rows: Sequence[SessionRow], *, width: int, now: float, colour: bool = False, zone: tzinfo | None = None
) -> str:
    """*rows* in a table at most *width* cells wide, a line each; *zone* is that of the times shown (None: UTC).

    The narrower, the fewer columns, and the widest ones shrink first; id, user, target and ending always stay.
    """
    columns = [column for column in _columns(now, zone or UTC) if width >= column.from_width]
    cells = [[plain(column.show(row)) for column in columns] for row in rows]
    widths = _widths(columns, cells, width)
    bold, end = ("\x1b[1m", "\x1b[m") if colour else ("", "")
    lines = [f"{bold}{_line([column.title for column in columns], widths, width)}{end}"]
    for row, shown in zip(rows, cells, strict=True):
        line = _line(shown, widths, width)
        if colour and (style := _STYLES.get(row.ending, "\x1b[31m")) and line.endswith(shown[-1]):
            line = f"{line.removesuffix(shown[-1])}{style}{shown[-1]}\x1b[m"
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def _widths(columns: Sequence[_Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    widths = [
        max(cell_width(column.title), *(min(cell_width(row[at]), _LONGEST_CELL) for row in cells))
        if cells
        else cell_width(column.title)
        for at, column in enumerate(columns)
    ]
    while sum(widths) + _GAP * (len(widths) - 1) > width:
        shrinkable = [at for at, column in enumerate(columns) if widths[at] > column.least]
        if not shrinkable:
            break
        widths[max(shrinkable, key=lambda at: widths[at])] -= 1
    return widths


def _line(cells: Sequence[str], widths: Sequence[int], width: int) -> str:
    fitted = (fit(cell, cell_cells) for cell, cell_cells in zip(cells, widths, strict=True))
    return cut((" " * _GAP).join(fitted).rstrip(), width)


def _columns(now: float, zone: tzinfo) -> list[_Column]:
    name = datetime.fromtimestamp(now, zone).tzname() or ""
    return [
        _Column(title="ID", show=lambda row: row.id, least=14),
        _Column(
            title=f"STARTED ({name})", show=lambda row: _moment(row.started_at, zone), from_width=76, least=16
        ),
        _Column(title="LASTED", show=lambda row: lasted(row, now), from_width=56, least=6),
        _Column(title="USER", show=lambda row: row.user, least=4),
        _Column(title="GROUPS", show=lambda row: ", ".join(row.groups), from_width=110, least=6),
        _Column(title="TARGET", show=_destination, least=8),
        _Column(title="WHAT", show=lambda row: row.command or row.action, from_width=100, least=8),
        _Column(title="ENDED", show=ended, least=10),
    ]


def _destination(row: SessionRow) -> str:
    return f"{row.login}@{row.target}" if row.login else row.target


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
