"""The rows of a COPY in binary form, as lines that people read (PostgreSQL documentation, COPY, Binary Format).

Nothing there says of which types the values are: what is text is shown as text, everything else in hexadecimal.
"""

from __future__ import annotations

import struct

from bastion.connectors.postgres.values import LONGEST
from bastion.runtime.logs import printable

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_FLAGS_AND_EXTENSION = struct.Struct("!II")
_COUNT, _SIZE = struct.Struct("!h"), struct.Struct("!i")


class BinaryRows:
    """Made of pieces as they come. Of a long value no more than its beginning waits for the rest."""

    def __init__(self) -> None:
        self._waiting = b""
        self._skip = 0
        self._fields = 0
        self._cells: list[str] = []
        self._is_begun = False
        self._is_over = False

    def feed(self, data: bytes) -> str:
        """The lines of the rows that end in *data*, or words where it is no such form."""
        lines: list[str] = []
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        data, at = self._waiting + data, 0
        while not self._is_over and (step := self._step(data, at, lines)):
            at += step
        self._skip += max(0, at - len(data))
        self._waiting = b"" if self._is_over else data[at:]
        return "".join(f"{line}\n" for line in lines)

    def _step(self, data: bytes, at: int, lines: list[str]) -> int:
        """Take what begins *at*; returns its size, 0 where more of it must come first."""
        left = len(data) - at
        if not self._is_begun:
            return self._header(data, lines)
        if not self._fields:
            if left < _COUNT.size:
                return 0
            self._fields = int(_COUNT.unpack_from(data, at)[0])
            if self._fields < 0:  # the trailer
                self._is_over = True
            elif not self._fields:
                lines.append("")
            return _COUNT.size
        if left < _SIZE.size:
            return 0
        size = int(_SIZE.unpack_from(data, at)[0])
        if left - _SIZE.size < min(size, LONGEST + 4):
            return 0
        self._cells.append(_cell(data[at + _SIZE.size :][: min(size, LONGEST + 4)], size))
        self._fields -= 1
        if not self._fields:
            lines.append("\t".join(self._cells))
            self._cells = []
        return _SIZE.size + max(0, size)

    def _header(self, data: bytes, lines: list[str]) -> int:
        begin = len(SIGNATURE)
        if len(data) < begin + _FLAGS_AND_EXTENSION.size:
            return 0
        if not data.startswith(SIGNATURE):
            lines.append("(no binary form that is known)")
            self._is_over = True
            return len(data)
        self._is_begun = True
        _, extension = _FLAGS_AND_EXTENSION.unpack_from(data, begin)
        return begin + _FLAGS_AND_EXTENSION.size + int(extension)


def _cell(value: bytes, size: int) -> str:
    if size < 0:
        return "\\N"
    more = f"… ({size} bytes)" if size > LONGEST else ""
    cut = value[:LONGEST]
    try:
        text = cut.decode()
    except UnicodeDecodeError as error:
        text = cut[: error.start].decode() if size > LONGEST and error.start > LONGEST - 4 else ""
    if (text or not size) and printable(text) == text:
        return f"{text}{more}"
    return f"\\x{cut[: LONGEST // 4].hex()}" + (more or (f"… ({size} bytes)" if size > LONGEST // 4 else ""))
