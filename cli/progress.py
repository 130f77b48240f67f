"""A bar on the terminal for what takes a while: on stderr, only where that is a terminal, and gone at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(
    title: str, total: int | None, *, counts: bool = False, is_quiet: bool = False
) -> Iterator[Callable[[int, int | None], None]]:
    """Show how much of *total* bytes (of things, if it *counts*) is done; None: it will be told.

    Gives what is to be told how much is done by now, and of how much (None: as before).
    """
    if is_quiet or not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    amount = MofNCompleteColumn() if counts else DownloadColumn()
    columns = (TextColumn(title), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done, of: bar.update(task, completed=done, total=of)
