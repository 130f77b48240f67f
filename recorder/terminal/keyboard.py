"""Keys out of the bytes a terminal sends, one byte at a time, so that what follows a key can be left unread.

The input is hostile: a decoder holds at most one short sequence, and what it does not know it drops. (The parser of
prompt_toolkit keeps every unfinished sequence in a cache of the process that is never emptied: 8,000 digits after
`ESC [` cost a second and 31 MiB for good, in a server that others share.)
"""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Iterator
from enum import Enum, auto

from recorder.terminal import Terminal

ESCAPE_DELAY = 0.15
"""Seconds after which an ESC that nothing follows is the Escape key; sequences may be split across packets."""

_LONGEST = 16


class Key(Enum):
    """Keys that are no character."""

    UP = auto()
    DOWN = auto()
    LEFT = auto()
    RIGHT = auto()
    SHIFT_LEFT = auto()
    SHIFT_RIGHT = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    HOME = auto()
    END = auto()
    ENTER = auto()
    TAB = auto()
    BACK_TAB = auto()
    BACKSPACE = auto()
    DELETE = auto()
    ESCAPE = auto()
    INTERRUPT = auto()
    END_OF_INPUT = auto()
    DELETE_LINE = auto()
    DELETE_WORD = auto()
    REDRAW = auto()


_CONTROL = {
    0x03: Key.INTERRUPT,
    0x04: Key.END_OF_INPUT,
    0x08: Key.BACKSPACE,
    0x09: Key.TAB,
    0x0A: Key.ENTER,
    0x0C: Key.REDRAW,
    0x0D: Key.ENTER,
    0x0E: Key.DOWN,  # Ctrl-N and Ctrl-P, as in a shell
    0x10: Key.UP,
    0x15: Key.DELETE_LINE,
    0x17: Key.DELETE_WORD,
    0x7F: Key.BACKSPACE,
}

_FINAL = {
    "A": Key.UP,
    "B": Key.DOWN,
    "C": Key.RIGHT,
    "D": Key.LEFT,
    "F": Key.END,
    "H": Key.HOME,
    "M": Key.ENTER,  # of the keypad; with CSI it begins a mouse report, which nobody here asks for
    "Z": Key.BACK_TAB,
    "c": Key.SHIFT_RIGHT,  # rxvt
    "d": Key.SHIFT_LEFT,
}

_NUMBERED = {
    "1": Key.HOME,
    "3": Key.DELETE,
    "4": Key.END,
    "5": Key.PAGE_UP,
    "6": Key.PAGE_DOWN,
    "7": Key.HOME,
    "8": Key.END,
}

_SHIFTED = {Key.LEFT: Key.SHIFT_LEFT, Key.RIGHT: Key.SHIFT_RIGHT}


class _State(Enum):
    GROUND = auto()
    ESCAPE = auto()
    SEQUENCE = auto()  # after ESC [
    SINGLE = auto()  # after ESC O
    OVERLONG = auto()  # a sequence longer than any key's: dropped up to its final byte


class KeyDecoder:
    """Turns bytes into keys: a `Key`, or a printable character as a string of length one."""

    def __init__(self) -> None:
        self._state = _State.GROUND
        self._sequence = ""
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_waiting(self) -> bool:
        """Whether an ESC has come that is either the Escape key or the begin of more."""
        return self._state is not _State.GROUND

    def decode(self, data: bytes | None) -> Iterator[tuple[Key | str, int]]:
        """The keys in *data*, each with where it ends; None says that nothing came within `ESCAPE_DELAY`."""
        if data is None:
            was, self._state = self._state, _State.GROUND
            if was is _State.ESCAPE:  # else a sequence was cut off
                yield Key.ESCAPE, 0
            return
        for end, byte in enumerate(data, start=1):
            if (key := self._feed(byte)) is not None:
                yield key, end

    def _feed(self, byte: int) -> Key | str | None:
        match self._state:
            case _State.GROUND:
                return self._ground(byte)
            case _State.ESCAPE:
                return self._after_escape(byte)
            case _State.SINGLE:
                self._state = _State.GROUND
                return _FINAL.get(chr(byte))
            case _State.SEQUENCE | _State.OVERLONG:
                return self._in_sequence(byte)

    def _ground(self, byte: int) -> Key | str | None:
        if byte < 0x80:
            self._utf8.reset()
            if byte == 0x1B:
                self._state = _State.ESCAPE
                return None
            return _CONTROL.get(byte) if byte < 0x20 or byte == 0x7F else chr(byte)
        text = self._utf8.decode(bytes((byte,))).lstrip("\ufffd")
        return text if text.isprintable() and text else None

    def _after_escape(self, byte: int) -> Key | None:
        match byte:
            case 0x5B:
                self._state, self._sequence = _State.SEQUENCE, ""
            case 0x4F:
                self._state = _State.SINGLE
            case 0x1B:
                return Key.ESCAPE
            case _:
                self._state = _State.GROUND  # Alt and a character: no key of ours
        return None

    def _in_sequence(self, byte: int) -> Key | str | None:
        if byte < 0x20 or byte > 0x7E:
            self._state = _State.GROUND
            return self._ground(byte)
        if byte < 0x40:
            self._sequence += chr(byte)
            if len(self._sequence) > _LONGEST:
                self._state, self._sequence = _State.OVERLONG, ""
            return None
        was, self._state = self._state, _State.GROUND
        return None if was is _State.OVERLONG else _named(self._sequence, chr(byte))


def _named(parameters: str, final: str) -> Key | None:
    number, _, modifier = parameters.partition(";")
    if number.strip("0123456789"):
        return None  # a private sequence: an answer of the terminal, no key
    key = _NUMBERED.get(number) if final == "~" else _FINAL.get(final)
    return _SHIFTED.get(key, key) if key and modifier == "2" else key


async def read_keys(terminal: Terminal, decoder: KeyDecoder) -> bytes | None:
    """Read once, for *decoder*: b"" at the end of input, None where nothing follows an ESC in time."""
    if not decoder.is_waiting:
        return await terminal.read()
    try:
        async with asyncio.timeout(ESCAPE_DELAY):
            return await terminal.read()
    except TimeoutError:
        return None
