"""Masked input: what is typed is written down in the clear once its echo has been seen, and else only counted.

When a key is pressed nobody knows yet whether the target echoes it. So `Typed` (that so many bytes came) is said at
once, before they go on; `Input` follows when the echo shows them, in their order, and `Masked` for what was never
echoed: a password. Events in, events out: no clock, no file, no terminal. Keys that carry no text (`keystrokes`) are
never masked.

A key counts as echoed in one of two ways.

1. Key by key: a piece of output moves the cursor forward over nothing but the characters of keys that wait, wrote all
   of those itself, and nothing else was shown since they were typed. (What else the piece redraws does not matter:
   colours, a suggestion, the rest of the line.)
2. Line by line: when the output goes to a new line after Enter, and what was written in the line is what was typed.

A line is decided at the first line feed after its Enter; one typed ahead, while an earlier Enter had no answer yet,
can wait longer for its echo, and is then shown only as a whole. See docs/recording-format.md, "Masked input".
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from recorder.events import Event, Input, Masked, Output, Resized, Typed
from recorder.keystrokes import ERASES_LINE, ERASES_ONE, LINE_ENDS, Key, Keystrokes
from recorder.screen_line import ScreenLine

LONGEST_WAIT = 256 * 1024
"""Characters of output after which keys that were not echoed are masked."""

MOST_KEYS = 64 * 1024
"""Keys that may wait for an echo."""

NEXT_LINES = 8
"""Lines typed ahead of which any may be the next that is shown."""

REMEMBERED_KEYS = 4096
"""Keys of a line that stay known for its end once they have been told."""

_TAIL = 4096
_STARS = frozenset("*•●∗")
"""What password prompts show instead of characters."""


@dataclass(slots=True)
class _Line:
    """A line being typed: its keys, of which the first *told* have been told."""

    start: int
    is_typed_ahead: bool
    keys: list[Key] = field(default_factory=list)
    told: int = 0
    is_ended: bool = False
    is_whole: bool = True

    @property
    def is_told(self) -> bool:
        return self.told == len(self.keys)

    @property
    def waiting(self) -> list[Key]:
        return [key for key in self.keys[self.told :] if key.is_clear is None]


class Masking:
    """Masks the input of one session on a terminal *width* columns wide."""

    def __init__(self, width: int = 0) -> None:
        self._keystrokes = Keystrokes()
        self._lines: list[_Line] = []
        self._screen = ScreenLine(width)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_unanswered = False  # Enter was pressed, and no line feed has come since
        self._waited = 0

    def take(self, events: Sequence[Event]) -> list[Event]:
        """*events* as they are to be written down, now."""
        written: list[Event] = []
        for event in events:
            match event:
                case Input(data):
                    written += self._typed(data)
                case Output(data):
                    written += [*self._shown(self._decoder.decode(data)), event]
                case Resized(columns):
                    self._screen.width = columns
                    written.append(event)
                case _:
                    written.append(event)
        return written

    def finish(self) -> list[Event]:
        """Tell of all that waits: the session is over."""
        self._mask(self._lines)
        rest = len(self._keystrokes.incomplete)
        self._keystrokes.incomplete = b""
        return [*self._tell(), *([Masked(rest)] if rest else [])]

    @property
    def _is_waiting(self) -> bool:
        return bool(self._keystrokes.incomplete) or any(not line.is_told for line in self._lines)

    def _typed(self, data: bytes) -> list[Event]:
        if not data:
            return []
        was_waiting = self._is_waiting
        if not was_waiting:
            self._waited = 0
        for key in self._keystrokes.take(data):
            self._line().keys.append(key)
            if key.data in LINE_ENDS:
                self._lines[-1].is_ended = self._is_unanswered = True
        told = self._tell()
        if not was_waiting and not self._is_waiting:
            return [Input(data)]  # only keys that need no echo
        if sum(len(line.keys) - line.told for line in self._lines) > MOST_KEYS:
            self._mask(self._lines)
            told += self._tell()
        return [Typed(len(data)), *told]

    def _line(self) -> _Line:
        """The line that the next key belongs to."""
        if not self._lines or self._lines[-1].is_ended:
            is_ahead = self._is_unanswered
            self._lines.append(_Line(0 if is_ahead else self._screen.column, is_ahead))
            if not is_ahead:
                self._screen.trail = ""
        return self._lines[-1]

    def _shown(self, text: str) -> list[Event]:
        self._waited += len(text)
        if self._waited > LONGEST_WAIT:
            self._mask(self._lines)
        told = self._tell()
        while self._is_waiting and text:
            piece, feed, text = text.partition("\n")
            self._screen.mark()
            self._screen.feed(piece)
            self._find_echo()
            if feed:
                self._end_line()
            told += self._tell()
        if not text:
            return told
        _, feed, last = text.rpartition("\n")
        if feed:
            self._new_line()
        self._screen.feed(last[-_TAIL:])
        return told

    def _find_echo(self) -> None:
        """The first way."""
        shown = self._screen.advance()
        if not self._lines or not shown or _STARS.issuperset(shown):
            if self._screen.has_written:
                self._pass()
            return
        line = self._lines[-1]
        keys = [] if line.is_ended else line.keys[line.told :]
        hopeful = "".join(
            "\0" if key.is_clear is not None or key.is_passed else key.text or "\0" for key in keys
        )
        if (at := hopeful.rfind(shown)) < 0:
            self._pass()
            return
        for key in keys[at : at + len(shown)]:
            key.is_clear = True
        self._mask(self._lines[:-1])  # echoes come in the order of the keys

    def _pass(self) -> None:
        """Something else was shown: the keys so far are not echoed one by one any more, they or those of a secret."""
        if self._lines and not self._lines[-1].is_ended:
            for key in self._lines[-1].waiting:
                key.is_passed = True

    def _end_line(self) -> None:
        """The second way: a line feed came."""
        lines = [line for line in self._lines if line.is_ended]
        answered = max((n for n, line in enumerate(lines, 1) if not line.is_typed_ahead), default=0)
        # The next few that wait: a line without echo may stand before the one that is shown.
        found = next(
            (n for n, line in enumerate(lines[: max(answered, NEXT_LINES)], 1) if self._find_line(line)), 0
        )
        self._mask(lines[: max(answered, found)])
        self._new_line()

    def _new_line(self) -> None:
        self._screen.begin()
        self._is_unanswered = False
        self._pass()
        for line in self._lines:
            line.start = 0

    def _find_line(self, line: _Line) -> bool:
        """Whether the line on the screen is what was typed; then its keys are clear."""
        if not line.is_whole:
            return False
        keys = line.keys[:-1]
        shown = _shown_in_order(keys, self._screen.trail)
        if not shown:
            shown = _edited(keys)
            text = "".join(key.text or "\0" for key in shown)
            if not text or not self._screen.text(line.start).endswith(text):
                return False
        for key in shown:
            key.is_clear = True
        return True

    def _mask(self, lines: Sequence[_Line]) -> None:
        for line in lines:
            for key in line.waiting:
                key.is_clear = False

    def _tell(self) -> list[Event]:
        """What is known now, up to the first key of which nothing is known."""
        told = self._known()
        self._lines = [line for line in self._lines if not (line.is_told and line.is_ended)]
        return told

    def _known(self) -> list[Event]:
        told: list[Event] = []
        for line in self._lines:
            for is_clear, group in groupby(line.keys[line.told :], key=lambda key: key.is_clear):
                if is_clear is None:
                    return told
                keys = list(group)
                line.told += len(keys)
                data = b"".join(key.data for key in keys)
                told.append(Input(data) if is_clear else Masked(len(data)))
            if len(line.keys) > REMEMBERED_KEYS and line.is_told:
                line.keys, line.told, line.is_whole = [], 0, False
        return told


def _shown_in_order(keys: Sequence[Key], trail: str) -> list[Key]:
    """The keys with text, if *trail* is their text: as it is from key to key, with anything where others stand."""
    shown: list[Key] = []
    at = 0
    for number, (is_text, group) in enumerate(groupby(keys, key=lambda key: bool(key.text))):
        if not is_text:
            continue
        run = list(group)
        text = "".join(key.text or "" for key in run)
        is_last = run[-1] is keys[-1]
        found = len(trail) - len(text) if is_last and trail.endswith(text) else trail.find(text, at)
        end = found + len(text)
        if found < at or (number == 0 and found != 0) or (is_last and end != len(trail)):
            return []
        shown += run
        at = end
    return shown


def _edited(keys: Sequence[Key]) -> list[Key]:
    """The keys whose text is left after the erasures among them; none where other keys steer about in the line."""
    left: list[Key] = []
    for key in keys:
        if key.text is not None:
            left.append(key)
        elif key.data in ERASES_ONE:
            del left[-1:]
        elif key.data == ERASES_LINE:
            left.clear()
        elif not key.data.startswith(b"\x1b[20"):  # the brackets of a paste
            return []
    return left


class Dropping:
    """Keeps nothing of the input but its length."""

    def take(self, events: Sequence[Event]) -> list[Event]:
        """*events* as they are to be written down."""
        return [
            Masked(len(event.data)) if isinstance(event, Input) else event
            for event in events
            if not (isinstance(event, Input) and not event.data)
        ]

    def finish(self) -> list[Event]:
        return []
