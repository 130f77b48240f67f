"""One line of a recording as bytes: `[seconds,"code","data"]`, and the few shapes that data has.

Knows how lines are written and read back, not what they mean in a row. The codes `o`, `i`, `r` and `m` are
asciicast's; the others are ours, and stock players pass over them.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

import msgspec

from recorder.errors import FormatError

OUTPUT = "o"
INPUT = "i"
RESIZE = "r"
MARKER = "m"
BYTES = "b"  # what the next line stands for, exactly
FACT = "f"  # something that happened and has no picture
TAGS = "h"  # short tags of the hash chain, to find a changed line by
CHECKPOINT = "k"  # a signature over the chain so far
SEAL = "s"  # the last line: a signature over the chain and how it all ended

CODES = frozenset((OUTPUT, INPUT, RESIZE, MARKER, BYTES, FACT, TAGS, CHECKPOINT, SEAL))
EVIDENCE = frozenset((TAGS, CHECKPOINT, SEAL))

LINE_LIMIT = 4 * 1024 * 1024
LARGEST_SIDE = 1000  # of a window a stock player is asked to draw: it allocates every cell of it

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(tuple[float, str, str])
_SURROGATES = re.compile("[\ud800-\udfff]")


class Line(NamedTuple):
    """A line taken apart; *number* counts from 1, the header being line 1."""

    number: int
    time: float
    code: str
    data: str


def encode_line(microseconds: int, code: str, data: str) -> bytes:
    """The line with its line feed. Six decimals always: some readers do not know exponents."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return b'[%d.%06d,"%s",%b]\n' % (seconds, fraction, code.encode(), _ENCODER.encode(data))


def decode_line(number: int, line: bytes) -> Line:
    """Take a line apart strictly; FormatError says what is wrong with it."""
    if not line.endswith(b"\n"):
        raise FormatError("it does not end with a line feed", line=number)
    try:
        time, code, data = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f'not [seconds, "code", "data"] ({error})', line=number) from None
    if code not in CODES:
        raise FormatError(f"unknown code {code!r}", line=number)
    if not 0 <= time < 1e12:
        raise FormatError(f"{time} is not a time", line=number)
    return Line(number, time, code, data)


def encode_bytes(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decode_bytes(text: str, number: int) -> bytes:
    """Base64 as RFC 4648 section 4 has it: padded, and of all texts that could stand for *data* the one we write."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise FormatError("broken base64", line=number) from None
    if encode_bytes(data) != text:
        raise FormatError("base64 with spare bits that are not zero", line=number)
    return data


def scalar_text(text: str) -> str:
    """*text* without lone surrogates: they are no characters, and strict JSON readers refuse them."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def drawable(side: int) -> int:
    """A width or height that every player can draw, near *side*."""
    return min(max(side, 1), LARGEST_SIDE)
