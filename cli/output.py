"""How commands print: tables for people, JSON for programs, one line for an error.

Whatever comes from data (names, commands, titles of terminals) loses its control characters here, so that a
recording's header cannot steer the terminal of the person who lists it. Colour only for a terminal, and not when
NO_COLOR is set.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TextIO

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
"""The --json of every command that lists or shows something; arrives as *as_json*."""

_UNPRINTABLE_IN_JSON = re.compile(r"[^\n -~]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table: the *key* of its values, its *title*, and how a value is shown."""

    key: str
    title: str
    show: Callable[[Any], str] = str
    is_number: bool = False
    is_whole: bool = False
    """Never broken or cut, even in a narrow terminal (ids)."""


def clean(text: str) -> str:
    """*text* on one line: control, format and other unprintable characters become escapes such as `\\x1b`."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def counted(recordings: int) -> str:
    """`1 recording`, `1,204 recordings`."""
    return f"{recordings:,} recording" if recordings == 1 else f"{recordings:,} recordings"


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, as_json: bool, empty: str
) -> None:
    """Print *rows* as a JSON array (with all their keys) or as a table; *empty* says what no rows mean."""
    if as_json:
        print_json(list(rows))
    elif not rows:
        click.echo(empty, err=True)
    else:
        _print_table(rows, columns)


def print_json(value: object) -> None:
    """Print *value* as indented JSON; paths, times, durations (in seconds) and dataclasses are understood."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=_plain)
    click.echo(_UNPRINTABLE_IN_JSON.sub(_escaped_if_unprintable, text))


def print_error(message: str, hint: str = "") -> None:
    """Print an error to stderr: its first line in red, the hint below."""
    first, *rest = [clean(line) for line in f"bastion: {message}".splitlines()]
    click.echo(click.style(first, fg="red") if is_coloured(sys.stderr) else first, err=True, color=True)
    for line in [*rest, *(f"  {clean(line)}" for line in hint.splitlines())]:
        click.echo(line, err=True)


def is_coloured(stream: TextIO) -> bool:
    """Whether colour is wanted on *stream*: a terminal that has some, and no NO_COLOR (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        justify: Any = "right" if column.is_number else "left"
        table.add_column(Text(column.title), justify=justify, no_wrap=column.is_whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(_shown(row.get(column.key), column))) for column in columns))
    is_terminal = sys.stdout.isatty()
    console = Console(
        width=None if is_terminal else 10_000,  # a pipe gets whole lines
        color_system="auto" if is_coloured(sys.stdout) else None,
        highlight=False,
    )
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip(), color=True)


def _shown(value: object, column: Column) -> str:
    return "" if value is None else column.show(value)


def _plain(value: object) -> object:
    match value:
        case Path():
            return str(value)
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case _ if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON form")


def _escaped_if_unprintable(found: re.Match[str]) -> str:
    """JSON escapes what can steer a terminal; only strings can hold it, so an escape is always right there."""
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]
