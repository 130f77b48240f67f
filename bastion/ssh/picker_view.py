"""How the picker looks at any size: the lines of one frame, and the bytes that turn the last frame into the next.

Pure. What does not fit is left out in this order: key hints, heading, notice, command; a filter and one row remain.
"""

from __future__ import annotations

from dataclasses import dataclass

from bastion.ssh.picker_list import PickerList
from bastion.ssh.picker_match import Match
from recorder.terminal.abilities import Abilities
from recorder.terminal.text import cut, fit, plain, width

ENTER_SCREEN = b"\x1b[?1049h\x1b[m\x1b[2J\x1b[H\x1b[?7l"
"""Alternate screen, no colours, cleared, no wrapping (a misjudged wide character must not shift the rows below)."""

LEAVE_SCREEN = b"\x1b[m\x1b[?7h\x1b[?25h\x1b[H\x1b[2J\x1b[?1049l"

_KEYS = (
    ("letters", "filter by name, description and labels"),
    ("login@", "filter by login too, and take it"),
    ("Enter", "connect"),
    ("Tab, Right", "next login of the target"),
    ("Up, Down", "move (also Ctrl-P, Ctrl-N)"),
    ("PgUp, PgDn", "a page up or down"),
    ("Home, End", "first, last"),
    ("Ctrl-W", "delete a word of the filter"),
    ("Ctrl-U", "clear the filter"),
    ("Esc, Ctrl-C", "leave"),
)


_UNCOLOURED = {
    "": "",
    "bold": "\x1b[1m",
    "dim": "",
    "mark": "\x1b[1;4m",
    "selected": "\x1b[7m",
    "notice": "\x1b[1m",
}
_COLOURED = _UNCOLOURED | {"dim": "\x1b[2m", "mark": "\x1b[1;4;36m", "notice": "\x1b[33m"}


def style(look: Abilities, name: str) -> str:
    """The sequence that switches a style on."""
    return (_COLOURED if look.colour else _UNCOLOURED)[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Lines from the top, each at most the screen's width, and where the cursor stands (from 0)."""

    lines: tuple[str, ...]
    cursor: tuple[int, int]


Segment = tuple[str, str]
"""A plain text and the name of its style."""


class View:
    """Draws a `PickerList`. *heading* and *notice* are data; *ssh_command* is what goes before `login@target`.

    *is_inside* a target, one leaves by going back.
    """

    def __init__(
        self,
        state: PickerList,
        look: Abilities,
        *,
        heading: str,
        notice: str,
        ssh_command: str,
        is_inside: bool = False,
    ) -> None:
        self.state = state
        self.look = look
        self._heading = plain(heading)
        self._notice = [plain(line) for line in notice.splitlines() if line.strip()]
        self._ssh_command = plain(ssh_command)
        self._leave = "back" if is_inside else "leave"
        self.measure()

    def measure(self) -> None:
        """Fit the columns to the rows that the list has by now."""
        rows = self.state.rows
        self._name_width = max((width(row.name) for row in rows), default=0)
        self._kind_width = max((width(row.kind) for row in rows), default=0)
        self._details_width = max((width(row.details) for row in rows), default=0)
        self._login_width = max((width(self._logins(row.entry.logins)) for row in rows), default=0)

    def frame(self, columns: int, rows: int) -> Frame:
        """One frame of that size; tells the list its height."""
        notice = self._notice[: max(rows // 6, 1)] if rows >= 5 else []
        room = rows - 2 - len(notice)  # without the filter and one row of the list
        has_command, has_heading, has_hint, has_air = room >= 2, room >= 3, room >= 4, room >= 12
        top = [self._top(columns)] if has_heading else []
        query = self._query(columns, with_count=not has_heading)
        bottom = [self._line([(line, "notice")], columns) for line in notice]
        bottom += [self._command(columns)] * has_command + [self._hint(columns)] * has_hint
        air = [""] * has_air
        head, foot = [*top, query, *air], [*air, *bottom]
        self.state.height = max(rows - len(head) - len(foot), 1)
        body = self._keys(columns) if self.state.shows_keys else self._list(columns)
        body = body[: self.state.height] + [""] * (self.state.height - len(body))
        lines = (head + body + foot)[:rows]
        typed = width(cut(self.state.query, max(columns - 3, 0))) + 2
        return Frame(lines=tuple(lines), cursor=(min(len(top), rows - 1), min(typed, columns - 1)))

    def _count(self) -> str:
        return f"{len(self.state.found):,} of {len(self.state.rows):,}"

    def _top(self, columns: int) -> str:
        count = self._count()
        heading = fit(self._heading, max(columns - len(count) - 1, 0), ellipsis=self.look.ellipsis)
        return self._line([(heading, "bold"), (f" {count}", "")], columns)

    def _query(self, columns: int, *, with_count: bool) -> str:
        count = f" {self._count()}" if with_count else ""
        room = max(columns - 2 - len(count), 0)
        return self._line(
            [
                ("> ", "bold"),
                (fit(plain(self.state.query), room, ellipsis=self.look.ellipsis), ""),
                (count, ""),
            ],
            columns,
        )

    def _command(self, columns: int) -> str:
        if (current := self.state.current) is None:
            return ""
        login = self.state.login_of(current.row.entry)
        address = plain(current.row.entry.address) or current.row.name
        destination = f"{plain(login)}@{address}" if login else address
        room = columns - width(destination)
        command = next(
            (c for c in (f"$ {self._ssh_command} ", f"$ ssh {self.look.ellipsis} ", "") if width(c) <= room),
            "",
        )
        return self._line([(command, "dim"), (destination, "bold")], columns)

    def _hint(self, columns: int) -> str:
        arrows = "↑↓" if self.look.unicode else "Up/Down"
        hints = [f"{arrows} move", "Enter connect", f"Esc {self._leave}", "? keys"]
        current = self.state.current
        if current and len(self.state.logins_of(current.row.entry)) > 1:
            hints.insert(2, "Tab login")
        text = "  ".join(hints)
        if width(text) > columns:
            text = f"Enter connect  Esc {self._leave}  ? keys"
        return self._line([(text, "dim")], columns)

    def _keys(self, columns: int) -> list[str]:
        return [self._line([(f"  {key:<12}", "bold"), (what, "")], columns) for key, what in _KEYS]

    def _list(self, columns: int) -> list[str]:
        state = self.state
        if not state.rows:
            nothing = (
                "  There is no target that you may reach." if self._leave == "leave" else "  Nothing is left."
            )
            return [self._line([(nothing, "")], columns)]
        if not state.found:
            return [self._line([("  Nothing matches. Ctrl-U clears the filter.", "")], columns)]
        first = min(max(state.selected - state.height // 2, 0), max(len(state.found) - state.height, 0))
        shown = range(first, min(first + state.height, len(state.found)))
        return [self._row(state.found[index], columns, selected=index == state.selected) for index in shown]

    def _row(self, match: Match, columns: int, *, selected: bool) -> str:
        marker = ("▸ " if self.look.unicode else "> ") if selected else "  "
        kind = self._kind_width + 2 if columns >= 50 else 0
        login = self._login_width + 2 if columns >= 70 else 0
        name = min(self._name_width, max(columns - 2 - kind, 0) if columns < 50 else columns * 2 // 5)
        details = min(max(columns - 2 - name - 2 - kind - login, 0), self._details_width)
        base = "selected" if selected else ""
        segments = [(marker, base), *_marked(match.row.name, match.name_marks, name, base, self.look)]
        if kind:
            segments += [("  ", base), (fit(match.row.kind, kind - 2), base or "dim")]
        if details:
            segments += [
                ("  ", base),
                *_marked(match.row.details, match.details_marks, details, base, self.look),
            ]
        if login:
            chosen = self.state.login_of(match.row.entry)
            text = self._logins(self.state.logins_of(match.row.entry), chosen)
            segments += [("  ", base), (fit(text, login - 2, ellipsis=self.look.ellipsis), base or "dim")]
        return self._line(segments, columns)

    @staticmethod
    def _logins(logins: tuple[str, ...] | list[str], chosen: str | None = None) -> str:
        if not logins:
            return ""
        text = plain(chosen or max(logins, key=len))[:20]
        return f"{text} +{len(logins) - 1}" if len(logins) > 1 else text

    def _line(self, segments: list[Segment], columns: int) -> str:
        """Segments as one line cut at the width; a mark inside the selected row stays reversed."""
        out, left = [], columns
        for text, styles in segments:
            shown = cut(text, left, ellipsis=self.look.ellipsis)
            left -= width(shown)
            codes = "".join(style(self.look, name) for name in styles.split("+"))
            out.append(f"{codes}{shown}\x1b[m" if codes and shown else shown)
            if shown != text:
                break
        return "".join(out)


def _marked(text: str, marks: set[int], cells: int, base: str, look: Abilities) -> list[Segment]:
    """*text* in exactly *cells* cells, cut into segments where the highlighting changes."""
    shown = fit(text, cells, ellipsis=look.ellipsis)
    marked = f"{base}+mark" if base else "mark"
    segments, start = [], 0
    for at in range(1, len(shown) + 1):
        if at == len(shown) or (at in marks) != (start in marks):
            segments.append((shown[start:at], marked if start in marks else base))
            start = at
    return segments


def paint(last: Frame | None, next_: Frame) -> bytes:
    """The bytes that turn *last* into *next_*; all of it where *last* is None (after a resize, or at first)."""
    out = ["\x1b[?25l"] if last else ["\x1b[?25l\x1b[m\x1b[2J"]
    before = last.lines if last else ()
    for row, line in enumerate(next_.lines):
        if row >= len(before) or before[row] != line:
            # Erased first: after a line of full width, erasing to its end would take the last character.
            out.append(f"\x1b[{row + 1};1H\x1b[2K{line}")
    row, column = next_.cursor
    out.append(f"\x1b[{row + 1};{column + 1}H\x1b[?25h")
    return "".join(out).encode()
