"""The picker for a terminal that cannot move its cursor, or that nobody knows: a numbered list and a prompt.

The client's terminal is in raw mode, so the echo is ours. Every answer is a number, a name, or text to filter by.
"""

from __future__ import annotations

from collections.abc import Sequence

from bastion.ssh.picker_list import LONGEST_QUERY, Choice, PickerList
from bastion.ssh.picker_match import Entry
from recorder.terminal import Terminal, size_of
from recorder.terminal.keyboard import Key, KeyDecoder, read_keys
from recorder.terminal.text import cut, fit, plain, width

_MOST_SHOWN = 100
_HELP = ("Type a number or a name (login@number for another login), text to filter,", "or q to leave.")


async def pick_by_number(
    terminal: Terminal, entries: Sequence[Entry], *, heading: str, notice: str, ssh_command: str
) -> Choice | None:
    """Ask until an entry is picked; None when the person leaves, or their input or terminal ends.

    *ssh_command* is what to type instead before a target's name; empty, nothing is.
    """
    prompt = _Prompt(terminal)
    state = PickerList(entries)
    lines = [
        plain(heading),
        *(plain(line) for line in notice.splitlines()),
        *_listing(state, *size_of(terminal)),
    ]
    try:
        if not entries:
            await prompt.show([*lines, "There is no target that you may reach."])
            return None
        command = [f"Or type at once: {plain(ssh_command)} TARGET"] if ssh_command else []
        await prompt.show([*lines, *_HELP, *command])
        while (answer := await prompt.ask("number or name: ")) is not None:
            if answer in ("q", "quit", "exit") and answer not in (row.name for row in state.rows):
                return None
            result = _answer(state, answer, *size_of(terminal))
            if isinstance(result, Choice):
                return Choice(entry=result.entry, login=result.login, typed_ahead=prompt.unread)
            await prompt.show(result)
    except OSError:
        return None  # the terminal is gone
    return None


def _answer(state: PickerList, answer: str, columns: int, rows: int) -> Choice | list[str]:
    """What an answer picks, or else what to show before asking again."""
    if answer == "?":
        return [*_HELP]
    login, at, wanted = answer.rpartition("@")
    row = next((row for row in state.rows if row.name == wanted), None)
    if row is None and wanted.isdecimal() and 0 < int(wanted) <= len(state.found):
        row = state.found[int(wanted) - 1].row
    if row is None:
        state.filter(answer)
        if state.found:
            return _listing(state, columns, rows)
        state.filter("")
        return [f"Nothing matches {answer}.", *_listing(state, columns, rows)]
    state.filter("")
    if not at:
        return Choice(entry=row.entry, login=state.login_of(row.entry))
    if login in state.logins_of(row.entry, login):
        return Choice(entry=row.entry, login=login)
    return [
        f"{login} is no login of yours on {row.name}; there is {', '.join(map(plain, row.entry.logins))}."
    ]


def _listing(state: PickerList, columns: int, rows: int) -> list[str]:
    shown = state.found[:_MOST_SHOWN]
    digits = len(str(len(shown)))
    names = min(max((width(match.row.name) for match in shown), default=0), columns // 2)
    lines = []
    for number, match in enumerate(shown, start=1):
        row = match.row
        logins = f"  ({', '.join(map(plain, row.entry.logins))})" if row.entry.logins else ""
        text = f"{number:>{digits}}  {fit(row.name, names, ellipsis='~')}  {row.kind}"
        room = columns - 1 - width(text) - width(logins) - 2
        details = f"  {cut(row.details, room, ellipsis='~')}" if row.details and room > 10 else ""
        lines.append(cut(f"{text}{details}{logins}", columns - 1, ellipsis="~"))
    if len(state.found) > len(shown):
        lines.append(f"... and {len(state.found) - len(shown):,} more; type a part of a name.")
    return lines


class _Prompt:
    """Lines from keys, with an echo. What came after the line's end stays in *unread*."""

    def __init__(self, terminal: Terminal) -> None:
        self.unread = b""
        self._terminal = terminal
        self._keys = KeyDecoder()

    async def show(self, lines: list[str]) -> None:
        await self._terminal.write("".join(f"{line}\r\n" for line in lines).encode())

    async def ask(self, prompt: str) -> str | None:
        """The line typed, without spaces around it; None when the person leaves or the input ends."""
        await self._terminal.write(prompt.encode())
        line = ""
        while True:
            data: bytes | None = self.unread or await read_keys(self._terminal, self._keys)
            self.unread = b""
            if data == b"":
                return None
            echo = ""
            for key, end in self._keys.decode(data):
                if key is Key.ENTER:
                    self.unread = data[end:] if data else b""
                    await self._terminal.write(f"{echo}\r\n".encode())
                    return line.strip()
                if key is Key.INTERRUPT or (key is Key.END_OF_INPUT and not line):
                    await self._terminal.write(f"{echo}\r\n".encode())
                    return None
                line, shown = _edited(line, key)
                echo += shown
            await self._terminal.write(echo.encode())


def _edited(line: str, key: Key | str) -> tuple[str, str]:
    """The line after *key*, and what to write so that the terminal shows it."""
    if isinstance(key, str):
        return (line + key, key) if len(line) < LONGEST_QUERY else (line, "\a")
    match key:
        case Key.BACKSPACE:
            kept = line[:-1]
        case Key.DELETE_WORD:
            kept = line.rstrip().rpartition(" ")[0]
        case Key.DELETE_LINE:
            kept = ""
        case _:
            return line, ""
    return kept, "\b \b" * width(line[len(kept) :])
