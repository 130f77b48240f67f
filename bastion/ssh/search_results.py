"""What a search found, as text for people and as records for programs. Pure: whoever asks may see the rows.

Used by `ssh bastion search` and by `bastion search`. Each hit comes with the command that replays its moment.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

from bastion.ssh.session_table import as_record, ended
from recorder.search import Found
from recorder.search_index import Hit
from recorder.search_lines import Part
from recorder.terminal.text import cut, plain
from recorder.terminal.text import width as cell_width

_STEP = 0.1
_LEAST_SNIPPET = 24
_LABELS: dict[Part, str] = {
    "output": "",
    "input": "typed: ",
    "sql": "statement: ",
    "request": "request: ",
    "connection": "connection: ",
}
_CONTEXT_BEFORE = 3
"""This part of a snippet's room, at most, stands before the hit."""


def results_text(found: Found, *, play: str, width: int, colour: bool) -> str:
    """The session, and below it each hit: the command that shows it (*play* ID --at T) and the line, hit marked."""
    row = found.row
    where = f"{row.login}@{row.target}" if row.login else row.target
    started = f"{datetime.fromtimestamp(row.started_at, UTC):%Y-%m-%d %H:%M} UTC"
    title = cut(plain(f"{row.id}  {started}  {row.user}  {where}  {ended(row)}"), width)
    lines = [f"\x1b[1m{title}\x1b[m" if colour else title]
    for hit in found.hits:
        command = f"  {play} {row.id} --at {replay_time(hit)}  "
        room = width - cell_width(command)
        if room < _LEAST_SNIPPET:
            lines.append(command.rstrip())
            command, room = "    ", width - 4
        lines.append(command + _snippet(hit, max(room, _LEAST_SNIPPET), colour))
    if found.has_more:
        lines.append("  … and more in this session")
    return "".join(f"{line}\n" for line in lines)


def as_search_record(found: Found) -> dict[str, object]:
    """The session with its hits; *start* and *end* say where in the line's text the hit is."""
    hits = [
        {
            "time": hit.time,
            "at": float(replay_time(hit)),
            "part": hit.part,
            "text": hit.text,
            "start": hit.start,
            "end": hit.end,
        }
        for hit in found.hits
    ]
    return {**as_record(found.row), "hits": hits, "has_more_hits": found.has_more}


def json_line(found: Found) -> str:
    """The record as one line of JSON."""
    return f"{json.dumps(as_search_record(found))}\n"


def replay_time(hit: Hit) -> str:
    """The moment from which a replay shows the line: just after it came."""
    return f"{math.ceil((hit.time + 0.001) / _STEP) * _STEP:.1f}"


def _snippet(hit: Hit, room: int, colour: bool) -> str:
    """The line around the hit, in *room* cells."""
    opening, closing = ("\x1b[1;33m", "\x1b[m") if colour else ("«", "»")
    kind = _LABELS[hit.part]
    room -= len(kind) + (0 if colour else 2)
    middle = cut(plain(hit.text[hit.start : hit.end]), room)
    room -= cell_width(middle)
    before = _end_of(
        plain(hit.text[: hit.start]), max(room // _CONTEXT_BEFORE, room - len(hit.text) + hit.end)
    )
    after = cut(plain(hit.text[hit.end :]), room - cell_width(before))
    return f"{kind}{before}{opening}{middle}{closing}{after}"


def _end_of(text: str, cells: int) -> str:
    """The last of *text*, in at most *cells* cells."""
    if cell_width(text) <= cells:
        return text
    kept = text[-max(cells - 1, 0) :] if cells > 1 else ""
    while cell_width(kept) > cells - 1 and kept:
        kept = kept[1:]
    return f"…{kept}" if cells > 0 else ""
