"""Contents that a recording keeps amid its output (docs/recording-format.md, "Contents"), put into files again.

Knows how a `contents` fact speaks of the output behind it, not what the contents are of.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path

from recorder.errors import FormatError
from recorder.events import Event, Happened, Output, Scalar

CONTENTS = "contents"
"""What such a fact is called."""
BASE64 = "base64"
"""The particular that has the bytes, where what is shown is not exactly they."""


class Contents:
    """Files in *folder*: `contents-ID-DIRECTION.bin`. Events are taken in their order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Path | None = None
        self._left = 0

    def take(self, event: Event) -> None:
        """Write what *event* has of contents. Raises FormatError for base64 that is none, and OSError."""
        match event:
            case Happened() if event.what == CONTENTS:
                self._begin(event.facts)
            case Output(data) if self._left:
                self._write(data[: self._left])
                self._left -= min(self._left, len(data))

    def _begin(self, facts: Mapping[str, Scalar]) -> None:
        self._left = 0
        match facts:
            case {"id": int(number), "direction": "in" | "out" as direction, "size": int(size)} if size > 0:
                self._file = self._folder / f"{CONTENTS}-{number}-{direction}.bin"
                encoded = facts.get(BASE64)
                if isinstance(encoded, str):
                    self._write(_decoded(encoded))
                else:
                    self._left = size

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        with self._file.open("ab") as file:
            file.write(data)


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        raise FormatError("contents that are not base64") from None
