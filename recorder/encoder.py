"""Events become lines, losslessly.

A stream of bytes is shown as text in `o` and `i` lines. Where the text says exactly which bytes came, that is all;
where it cannot (bytes that are not UTF-8, a character cut in two by a packet), a `b` line in front carries the bytes.
Every byte given to `encode` is in the lines it returns: nothing waits for the rest of a character.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence

from recorder.errors import FormatError
from recorder.events import (
    ErrorOutput,
    Event,
    Exited,
    Input,
    Masked,
    Noted,
    Output,
    Resized,
    Typed,
)
from recorder.facts import Fact, encode_fact
from recorder.lines import (
    BYTES,
    FACT,
    INPUT,
    LINE_LIMIT,
    MARKER,
    OUTPUT,
    RESIZE,
    drawable,
    encode_bytes,
    encode_line,
    scalar_text,
)

PIECE = 64 * 1024  # of bytes a line shows at most, so that no line comes near the limit

STREAM_OUTPUT = "o"
STREAM_ERROR = "e"
STREAM_INPUT = "i"

Group = tuple[bytes, ...]
"""A display line, with the `b` line in front of it if it has one: nothing may come between them."""


class Encoder:
    """Turns the events of one recording into lines, and counts the bytes of its streams."""

    def __init__(self, *, shows_crlf: bool) -> None:
        self._output = _Stream(STREAM_OUTPUT, OUTPUT, shows_crlf=shows_crlf, shows_binary=not shows_crlf)
        self._error = _Stream(STREAM_ERROR, OUTPUT, shows_crlf=shows_crlf, shows_binary=not shows_crlf)
        self._input = _Stream(STREAM_INPUT, INPUT, shows_crlf=False, shows_binary=not shows_crlf)
        self._untold = 0  # bytes of input that were said to have come, and nothing more yet
        self._masked = 0
        self.exit_status: int | None = None

    @property
    def output_bytes(self) -> int:
        return self._output.total

    @property
    def error_bytes(self) -> int:
        return self._error.total

    @property
    def input_bytes(self) -> int:
        return self._input.total + self._masked + self._untold

    def encode(self, events: Sequence[Event], microseconds: int) -> list[Group]:
        """The lines of *events*, all of them at *microseconds* since the start; FormatError if one is too long."""
        groups: list[Group] = []
        for event in events:
            match event:
                case Output(data):
                    groups += self._output.groups(data, microseconds)
                case Input(data):
                    self._untold -= min(self._untold, len(data))
                    groups += self._input.groups(data, microseconds)
                case ErrorOutput(data):
                    groups += self._error.groups(data, microseconds)
                case Resized():
                    groups.append(_resize_group(event, microseconds))
                case Noted(text):
                    groups.append(_checked(encode_line(microseconds, MARKER, scalar_text(text))))
                case _:
                    self._count(event)
                    groups.append(_checked(encode_line(microseconds, FACT, encode_fact(event))))
        return groups

    def _count(self, fact: Fact) -> None:
        match fact:
            case Typed(count):
                self._untold += count
            case Masked(count):
                self._untold -= min(self._untold, count)
                self._masked += count
            case Exited(status):
                self.exit_status = status


class _Stream:
    """One stream of bytes on its way to lines."""

    def __init__(self, letter: str, code: str, *, shows_crlf: bool, shows_binary: bool) -> None:
        self._letter = letter
        self._code = code
        self._is_plain = letter == code  # its display lines need no word about whose they are
        self._shows_crlf = shows_crlf
        self._shows_binary = shows_binary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_inside_character = False
        self.total = 0

    def groups(self, data: bytes, microseconds: int) -> Iterator[Group]:
        self.total += len(data)
        for start in range(0, len(data), PIECE):
            for exact, text in self._pieces(data[start : start + PIECE]):
                # One CR more in front of each LF can be taken away again, whatever else stands there.
                shown = text.replace("\n", "\r\n") if self._shows_crlf else text
                display = encode_line(microseconds, self._code, shown)
                if exact is not None:
                    yield encode_line(microseconds, BYTES, f"{self._letter} {encode_bytes(exact)}"), display
                elif not self._is_plain:
                    yield encode_line(microseconds, BYTES, self._letter), display
                else:
                    yield (display,)

    def _pieces(self, data: bytes) -> Iterator[tuple[bytes | None, str]]:
        """Cut *data* into text that is exact (beside None) and text that is not (beside its bytes)."""
        if self._is_inside_character:
            edge = self._edge(data)
            yield data[:edge], self._decode(data[:edge])
            data = data[edge:]
        if not data:
            return
        if self._is_inside_character:  # bytes that make no sense: no edge to be found
            yield data, self._decode(data)
            return
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data":  # good up to a character that is cut
                if error.start:
                    yield None, data[: error.start].decode()
                tail = data[error.start :]
                yield tail, self._decode(tail)
            elif not self._shows_binary and b"\0" in data:
                yield data, f"[{len(data)} bytes that are not text]\n"
            else:
                yield data, self._decode(data)
        else:
            yield None, text

    def _edge(self, data: bytes) -> int:
        """How many bytes of *data* end the character that the last packet cut (at most 3)."""
        probe = codecs.getincrementaldecoder("utf-8")("replace")
        probe.setstate(self._decoder.getstate())
        for length in range(1, min(3, len(data)) + 1):
            probe.decode(data[length - 1 : length])
            if not probe.getstate()[0]:
                return length
        return min(3, len(data))

    def _decode(self, data: bytes) -> str:
        text = self._decoder.decode(data)
        self._is_inside_character = bool(self._decoder.getstate()[0])
        return text


def _checked(line: bytes) -> Group:
    if len(line) > LINE_LIMIT:
        raise FormatError("a note or a message is too long to be recorded")
    return (line,)


def _resize_group(event: Resized, microseconds: int) -> Group:
    columns, rows = drawable(event.columns), drawable(event.rows)
    display = encode_line(microseconds, RESIZE, f"{columns}x{rows}")
    if (columns, rows) != (event.columns, event.rows) or event.pixel_width or event.pixel_height:
        exact = f"r {event.columns}x{event.rows} {event.pixel_width}x{event.pixel_height}"
        return encode_line(microseconds, BYTES, exact), display
    return (display,)
