"""A byte terminal and what any screen of ours needs on one: keys out of bytes, text that cannot escape its cell.

It may be an SSH channel, where the client's own terminal is in raw mode and we are the line discipline, or a local
tty. Nothing in here knows of recordings, targets or SSH.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Terminal(Protocol):
    """What a screen needs of a terminal.

    `read` gives keys as they come and b"" at the end of input; a cancelled `read` must lose no bytes. `write`
    returns when the terminal has taken the bytes (back-pressure) and raises OSError when it is gone. *resized* is set
    by whoever draws, and is called after *columns* and *rows* have changed. Sizes are what the client says: zero and
    absurd values happen.
    """

    term: str
    columns: int
    rows: int
    resized: Callable[[], None] | None

    async def read(self) -> bytes: ...

    async def write(self, data: bytes) -> None: ...


def size_of(terminal: Terminal) -> tuple[int, int]:
    """Columns and rows fit to draw on: 80x24 where the client says zero, bounded where it says millions."""
    return min(terminal.columns, 1000) or 80, min(terminal.rows, 500) or 24
