"""The player's status line and its page of keys, as text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from recorder.header import Header
from recorder.terminal.abilities import Abilities
from recorder.terminal.text import cut, fit, plain

_CLOCK = re.compile(r"(?:(\d{1,5}):)??(?:(\d{1,6}):)?(\d{1,9}(?:\.\d*)?)", re.ASCII)
_UNITS = re.compile(r"(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d*)?)s)?", re.ASCII)

KEYS = (
    ("Space", "pause, go on"),
    (".", "next output, while paused"),
    ("+ -  > <", "faster, slower"),
    ("i", "shorten pauses, or not"),
    ("Left Right", "5 seconds back, on"),
    ("[ ]", "a minute back, on (Shift-Left, -Right)"),
    ("/", "look for a text; n N: next place, last one"),
    ("m M", "next note of the bastion, last one"),
    ("g", "to a time, such as 1:30"),
    ("0 to 9", "to 0% to 90%"),
    ("Ctrl-L", "draw again"),
    ("q, Ctrl-C", "quit"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the status line tells. Times in seconds; *size* is the recorded one, *room* that of this terminal."""

    position: float
    length: float
    speed: float
    is_paused: bool
    idle_limit: float | None
    who: str
    size: tuple[int, int] | None
    room: tuple[int, int]
    note: str
    prompt: str | None = None
    """What is being asked, and typed."""
    place: str = ""
    """Which place of what was looked for this is."""

    def line(self, look: Abilities) -> str:
        """One line that fits the terminal, the last column left free."""
        if self.prompt is not None:
            return fit(cut(f" {plain(self.prompt)}", self.room[0] - 1), max(self.room[0] - 1, 0))
        parts = [f"{clock(self.position)} / {clock(self.length)}"]
        if self.is_paused:
            parts.append("paused")
        if self.speed != 1:
            parts.append(f"x{self.speed:g}")
        if self.idle_limit is not None:
            parts.append(f"pauses {self.idle_limit:g}s")
        if self.size is not None:
            parts.append(too_small(self.size, self.room) or "x".join(map(str, self.size)))
        parts += [
            part
            for part in (
                plain(self.place),
                plain(self.who),
                f"note: {plain(self.note)}" if self.note else "",
                "? keys",
            )
            if part
        ]
        return fit(
            cut(" " + "  ".join(parts), self.room[0] - 1, ellipsis=look.ellipsis), max(self.room[0] - 1, 0)
        )


def too_small(size: tuple[int, int], room: tuple[int, int]) -> str:
    """What to say where a recording of *size* does not fit in *room*, else nothing."""
    if size[0] <= room[0] and size[1] <= room[1]:
        return ""
    return f"recorded {size[0]}x{size[1]}, too large for {room[0]}x{room[1]}"


def who(header: Header, id_: str) -> str:
    """`ada  deploy@web-1  261124-k7f3m9q`, as far as known."""
    user, target, login = (
        value if isinstance(value := header.facts.get(name, ""), str) else ""
        for name in ("user", "target", "login")
    )
    where = f"{login}@{target}" if login and target else target
    return "  ".join(part for part in (user, where, id_) if part)


def told_instead(happened: Mapping[str, int], notes: int) -> list[str]:
    """What to say of a recording that shows nothing: what it holds, and how to get at it. *happened* is of a Scan."""
    words = {"file": "copied file", "connection": "connection", "sql": "statement", "request": "request"}
    counts = [
        f"{happened[what]:,} {word}{'' if happened[what] == 1 else 's'}"
        for what, word in words.items()
        if happened.get(what)
    ]
    lines = ["Nothing was shown in this session."]
    if counts:
        lines += ["", f"It holds {', '.join(counts)}:", "bastion export --format text lists them."]
    if notes:
        lines += ["", "m and M go through the notes of the bastion, below."]
    return lines


def clock(seconds: float) -> str:
    """`1:02:03`, `2:03`."""
    minutes, second = divmod(int(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def exact_clock(seconds: float) -> str:
    """`1:02:03.250`, `2:03.250`."""
    return f"{clock(seconds)}.{int(seconds * 1000) % 1000:03}"


def moment(text: str) -> float | None:
    """Seconds from `90`, `1:30`, `1:02:03` or `1h2m3s`; None where *text* is none of those."""
    text = text.replace(" ", "")
    if (found := _CLOCK.fullmatch(text) or _UNITS.fullmatch(text)) is None or not text:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds
