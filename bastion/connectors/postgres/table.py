"""Rows as psql would show them, drawn as they come: the first of them say how wide the columns are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len as width

from bastion.runtime.logs import printable

WIDEST = 60


class Table:
    """One result. Rows are given in batches; each is drawn at once, since it must be on record before it goes on."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = [printable(name) for name in names]
        self._widths: list[int] = []

    def draw(self, rows: Sequence[Sequence[str]]) -> str:
        """The lines of *rows*, below the names of the columns the first time."""
        lines: list[str] = []
        if not self._widths:
            columns = zip(*([self._names, *rows] if rows else [self._names]), strict=False)
            self._widths = [min(WIDEST, max(map(width, column))) for column in columns]
            lines.append(
                self._line([name.center(w) for name, w in zip(self._names, self._widths, strict=False)])
            )
            lines.append("+".join("-" * (w + 2) for w in self._widths))
        lines += [self._line(row) for row in rows]
        return "".join(f"{line.rstrip()}\n" for line in lines)

    def _line(self, cells: Sequence[str]) -> str:
        padded = [
            cell + " " * (self._widths[n] - width(cell) if n < len(self._widths) else 0)
            for n, cell in enumerate(cells)
        ]
        return " " + " | ".join(padded)
