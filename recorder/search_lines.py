"""The lines of a recording that a search looks in: what could be read, and what was typed.

Reads the file once and holds no more than a screen of it. Knows nothing of how lines are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from recorder.at_rest import Identity
from recorder.events import ErrorOutput, Happened, Input, Noted, Output, Resized, Scalar
from recorder.lines import drawable
from recorder.reader import Entry, open_recording
from recorder.search_grid import LONGEST_LINE, OVERLAP
from recorder.search_screen import SeenScreen
from recorder.search_typed import TypedLines

Part = Literal["output", "input", "sql", "request", "connection"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What can be searched by itself: what was shown, what was typed, and what happened, by its word."""
END = "end"
"""The word for the end of what has lasted; its number says of what."""
_HAPPENED: dict[str, Part] = {"sql": "sql", "request": "request", "connection": "connection"}


class TextLine(NamedTuple):
    """A line of a session: of which *part*, and when, in seconds since the start."""

    part: Part
    time: float
    text: str


class Stopped(Exception):
    """Whoever wanted the lines does not want them any more."""


def text_lines(
    path: Path, is_stopped: Callable[[], bool] = lambda: False, identities: Sequence[Identity] = ()
) -> Iterator[TextLine]:
    """The lines of the recording at *path*; FormatError where it breaks the format, after the lines up to there.

    Raises Stopped soon after *is_stopped* says so: a long recording takes minutes.
    """
    found: list[TextLine] = []
    with open_recording(path, identities) as recording:
        lines = _Lines(
            recording.header.terminal is not None, recording.header.columns, recording.header.rows, found
        )
        command = recording.header.facts.get("command")
        if isinstance(command, str) and command:
            found.append(TextLine("input", 0.0, command))
        for entry in recording:
            if is_stopped():
                raise Stopped
            lines.take(entry)
            yield from found
            found.clear()
    lines.end()
    yield from found


class _Lines:
    """Gives each event to the screen it belongs to."""

    def __init__(self, is_terminal: bool, columns: int, rows: int, found: list[TextLine]) -> None:
        def shown(time: float, text: str) -> None:
            found.append(TextLine("output", time, text))

        def typed(time: float, text: str) -> None:
            found.append(TextLine("input", time, text))

        self._found = found
        self._openers: dict[Scalar, Part] = {}  # of what has begun and not ended, by its number
        self._shown = shown
        self._is_terminal = is_terminal
        # Without a terminal there is no width, and stdout and stderr do not meet on a screen.
        self._output = (
            SeenScreen(drawable(columns or 80), drawable(rows or 24), shown)
            if is_terminal
            else SeenScreen(LONGEST_LINE, 2, shown)
        )
        self._error = SeenScreen(LONGEST_LINE, 2, shown)
        self._input: TypedLines | SeenScreen = (
            TypedLines(typed) if is_terminal else SeenScreen(LONGEST_LINE, 2, typed)
        )

    def take(self, entry: Entry) -> None:
        match entry.event:
            case Output():
                self._output.feed(entry.time, entry.text)
            case ErrorOutput():
                self._error.feed(entry.time, entry.text)
            case Input() if self._is_terminal:
                self._input.feed(entry.time, entry.text)
            case Input():
                self._input.feed(entry.time, entry.text.replace("\n", "\r\n"))
            case Resized(columns, rows) if self._is_terminal:
                self._output.resize(drawable(columns or 80), drawable(rows or 24))
            case Noted():
                self._shown(entry.time, entry.text)
            case Happened() as happened:
                if (part := self._part_of(happened)) is not None:
                    self._found += [TextLine(part, entry.time, piece) for piece in _pieces(said(happened))]

    def _part_of(self, happened: Happened) -> Part | None:
        """What it belongs to; the end of something to what began it."""
        number = happened.facts.get("id")
        if happened.what == END:
            return self._openers.pop(number, None)
        part = _HAPPENED.get(happened.what)
        if part is not None and number is not None:
            self._openers[number] = part
        return part

    def end(self) -> None:
        for part in (self._output, self._error, self._input):
            part.end()


def said(happened: Happened) -> str:
    """What happened, in one line: its text, and its particulars."""
    particulars = ", ".join(f"{name}={value}" for name, value in happened.facts.items() if value is not None)
    text = " ".join(happened.text.split())
    return f"{text}  [{particulars}]" if particulars else text


def _pieces(line: str) -> Iterator[str]:
    """A long line in pieces that overlap, so that what stands across an edge is found too."""
    for start in range(0, max(1, len(line) - OVERLAP), LONGEST_LINE - OVERLAP):
        yield line[start : start + LONGEST_LINE]
