"""Reads a recording back, strictly and line by line, into the events it was made of.

What breaks the format is a FormatError that names the line. Signatures are not looked at here: see `verify`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from recorder import lines
from recorder.at_rest import Identity, open_plain
from recorder.encoder import STREAM_ERROR, STREAM_INPUT, STREAM_OUTPUT
from recorder.errors import FormatError
from recorder.events import (
    ErrorOutput,
    Event,
    Input,
    Masked,
    Noted,
    Output,
    Resized,
    Typed,
)
from recorder.facts import decode_fact
from recorder.header import Header, Opening, decode_opening
from recorder.lines import (
    BYTES,
    EVIDENCE,
    INPUT,
    LINE_LIMIT,
    OUTPUT,
    RESIZE,
    SEAL,
    Line,
    decode_bytes,
    decode_line,
)
from recorder.names import SessionId
from recorder.statements import Seal, read_seal

_SIZE = re.compile(r"(\d{1,10})x(\d{1,10})", re.ASCII)
_EXACT_SIZE = re.compile(r"r (\d{1,10})x(\d{1,10}) (\d{1,10})x(\d{1,10})", re.ASCII)
_CODE_OF_STREAM = {STREAM_OUTPUT: OUTPUT, STREAM_ERROR: OUTPUT, STREAM_INPUT: INPUT}


class Entry(NamedTuple):
    """An event and when it happened, in seconds since the start.

    The event holds exactly what came; *text* is what a screen shows of it: for output with its line ends as a terminal
    needs them and U+FFFD for what is not UTF-8, for a note its text, for what has no picture nothing.
    """

    time: float
    event: Event
    text: str


class Reader:
    """Reads a recording from *file*, which is open in binary mode at its start; iterate over it for the entries."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        first = file.readline(LINE_LIMIT + 1)
        if not first.endswith(b"\n"):
            raise FormatError("the file has no whole first line")
        self.opening: Opening = decode_opening(first)
        self.seal: Seal | None = None
        """What the seal states, once it has been read; not verified."""
        self.time = 0.0
        """The time of the last line read."""
        self.whole = len(first)
        """Where the last whole event ends in the file. What follows at the end of it is torn, or just being written."""
        self.untold = 0
        """Bytes of input that were typed, and of which nothing more stands here (before the seal: yet)."""
        self.whole_line = 1
        """The number of the last line before that."""
        self.whole_untold = 0
        """What `untold` was there."""
        self._number = 1
        self._offset = len(first)

    @property
    def id(self) -> SessionId:
        return self.opening.id

    @property
    def header(self) -> Header:
        return self.opening.header

    @property
    def offset(self) -> int:
        """Where the last line read ends in the file, while an event is being looked at: where that ends."""
        return self._offset

    def again(self) -> None:
        """Go back to the end of the last whole event: the next iteration reads what was written since."""
        self.go_to(self.whole, line=self.whole_line, time=self.time, untold=self.whole_untold)

    def go_to(self, offset: int, *, line: int, time: float, untold: int) -> None:
        """Let the next iteration read on from *offset*, where an event begins, as if all before had been read.

        *line* is the number of the line before, *time* that of some line before, *untold* what it was there.
        """
        self._file.seek(offset)
        self.whole = self._offset = offset
        self.whole_line = self._number = line
        self.whole_untold = self.untold = untold
        self.time, self.seal = time, None

    def __iter__(self) -> Iterator[Entry]:
        said: Line | None = None  # by a `b` line of the line after it
        for line in self._lines():
            if said is not None:
                entry = self._exactly(said, line)
                self._count(entry.event, line.number)
                yield entry
                said = None
            elif line.code == BYTES:
                said = line
            elif line.code not in EVIDENCE:
                for entry in self._entry(line):
                    self._count(entry.event, line.number)
                    yield entry
            elif line.code == SEAL:
                _, self.seal = read_seal(line.data, line.number)
            if said is None:
                self.whole, self.whole_line = self._offset, self._number
                self.whole_untold = self.untold

    def _lines(self) -> Iterator[Line]:
        while raw := self._file.readline(LINE_LIMIT + 1):
            self._number += 1
            if self.seal is not None:
                raise FormatError("something stands after the seal", line=self._number)
            if not raw.endswith(b"\n"):
                if len(raw) > LINE_LIMIT:
                    raise FormatError("the line is too long", line=self._number)
                return
            line = decode_line(self._number, raw)
            if line.time < self.time:
                raise FormatError("time runs backwards", line=self._number)
            self.time = line.time
            self._offset += len(raw)
            yield line

    def _entry(self, line: Line) -> Iterator[Entry]:
        match line.code:
            case lines.OUTPUT:
                yield Entry(line.time, Output(self._streamed(line)), line.data)
            case lines.INPUT:
                yield Entry(line.time, Input(line.data.encode()), line.data)
            case lines.RESIZE:
                if (size := _SIZE.fullmatch(line.data)) is None:
                    raise FormatError(f"{line.data!r} is not a size", line=line.number)
                yield Entry(line.time, Resized(int(size[1]), int(size[2])), "")
            case lines.MARKER:
                yield Entry(line.time, Noted(line.data), line.data)
            case lines.FACT:
                if (event := decode_fact(line)) is not None:
                    yield Entry(line.time, event, "")

    def _count(self, event: Event, number: int) -> None:
        """Keep the account of input that is told of in two steps."""
        match event:
            case Typed(count):
                self.untold += count
            case Input() | Masked() if self.untold:
                self.untold -= len(event.data) if isinstance(event, Input) else event.count
                if self.untold < 0:
                    raise FormatError("more input than was typed", line=number)

    def _streamed(self, line: Line) -> bytes:
        """The bytes that an `o` line without a word about its bytes stands for."""
        text = line.data
        if self.opening.shows_crlf:
            text = text.replace("\r\n", "\n")
            if len(text) + text.count("\n") != len(line.data):
                raise FormatError("a line feed without a carriage return", line=line.number)
        return text.encode()

    def _exactly(self, said: Line, line: Line) -> Entry:
        """The entry of a line that had a `b` line in front."""
        if (size := _EXACT_SIZE.fullmatch(said.data)) is not None and line.code == RESIZE:
            return Entry(line.time, Resized(*(int(part) for part in size.groups())), "")
        stream, space, encoded = said.data.partition(" ")
        if _CODE_OF_STREAM.get(stream) != line.code:
            raise FormatError(f"{said.data[:20]!r} says nothing of the line after it", line=said.number)
        data = decode_bytes(encoded, said.number) if space else self._streamed(line)
        match stream:
            case "o":
                return Entry(line.time, Output(data), line.data)
            case "e":
                return Entry(line.time, ErrorOutput(data), line.data)
            case _:
                return Entry(line.time, Input(data), line.data)


@contextmanager
def open_recording(path: Path, identities: Sequence[Identity] = ()) -> Iterator[Reader]:
    """Open the recording at *path*, an encrypted one with *identities*; FormatError when it is none."""
    try:
        file = open_plain(path, identities)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield Reader(file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sinks:
    """Where the rebuilt streams go."""

    output: BinaryIO
    error: BinaryIO
    input: BinaryIO


def rebuild_streams(path: Path, sinks: Sinks) -> None:
    """Write exactly the bytes of each stream of the recording at *path* to its sink."""
    with open_recording(path) as recording:
        for entry in recording:
            match entry.event:
                case Output(data):
                    sinks.output.write(data)
                case ErrorOutput(data):
                    sinks.error.write(data)
                case Input(data):
                    sinks.input.write(data)
