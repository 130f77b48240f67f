"""The hash chain over the lines of a recording, and the short tags that name the line where two chains part.

The value after line n is SHA-256(value after line n-1 || line n with its line feed), starting from 32 zero bytes.
Anybody can compute it: the chain alone proves nothing. Signed statements about it do (see `statements`).
"""

from __future__ import annotations

import base64
import hashlib

from recorder.errors import FormatError
from recorder.lines import decode_bytes

START = bytes(32)
TAG_SIZE = (
    3  # bytes, which is four characters of base64; one changed line in 16 million keeps its tag by chance
)
TAGS_PER_LINE = 64


class Chain:
    """The running value over the lines of one recording, and the tags that stand in no line yet."""

    __slots__ = ("_tags", "lines", "value")

    def __init__(self) -> None:
        self.value = START
        self.lines = 0
        self._tags: list[bytes] = []

    def add(self, line: bytes) -> None:
        """Go on over *line*, which ends with its line feed."""
        self.value = hashlib.sha256(self.value + line).digest()
        self.lines += 1
        self._tags.append(self.value[:TAG_SIZE])

    @property
    def tags(self) -> list[bytes]:
        """The tags of the last lines, those that stand in no tag line yet."""
        return self._tags

    @property
    def first_untagged(self) -> int:
        """The number of the line that the first of `tags` belongs to."""
        return self.lines - len(self._tags) + 1

    def take_tags(self) -> str:
        """The data of a tag line for all lines up to here that have none."""
        data = f"{self.first_untagged} {base64.b64encode(b''.join(self._tags)).decode()}"
        self._tags = []
        return data


def decode_tags(data: str, number: int) -> tuple[int, list[bytes]]:
    """The number of the first line that the tags of line *number* cover, and the tags."""
    first, _, encoded = data.partition(" ")
    raw = decode_bytes(encoded, number)
    if not (first.isascii() and first.isdecimal() and len(first) < 16) or not raw or len(raw) % TAG_SIZE:
        raise FormatError("broken tags", line=number)
    return int(first), [raw[at : at + TAG_SIZE] for at in range(0, len(raw), TAG_SIZE)]
