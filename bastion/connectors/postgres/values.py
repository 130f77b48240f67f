"""Values of parameters and results as text that people read, also where they came in binary form."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from bastion.connectors.postgres.binary import TEXTS, decode_binary
from bastion.runtime.logs import printable

LONGEST = 200
"""Characters of a value in a result that are shown."""
LONGEST_PARAMETER = 8 * 1024
"""The same of a parameter: what is done may hang on it."""

Format = int
TEXT, BINARY = 0, 1


def shown(
    value: bytes | None,
    oid: int = 0,
    form: Format = TEXT,
    longest: int = LONGEST,
    *,
    whole: int | None = None,
) -> str:
    """A value in one line, of at most *longest* characters and a word about the rest; NULL for None.

    *whole* is its length in bytes, where *value* is only what was looked at of it.
    """
    if value is None:
        return "NULL"
    if whole is not None and whole > len(value):
        if form == TEXT or oid in TEXTS:
            return printable(value.decode("utf-8", "replace")[:longest]) + f"… ({whole} bytes)"
        return _hex(value, longest, whole)
    if form == TEXT:
        return _cut(value.decode("utf-8", "replace"), longest)
    try:
        decoded = decode_binary(value, oid)
    except (struct.error, ValueError, OverflowError, IndexError):
        decoded = None
    return _hex(value, longest) if decoded is None else _cut(decoded, longest)


def formats(codes: Sequence[Format], count: int) -> list[Format]:
    """The format of each of *count* values, by the rule of Bind: none is text for all, one is for all."""
    if len(codes) == 1:
        return [codes[0]] * count
    return [codes[n] if n < len(codes) else TEXT for n in range(count)]


def _cut(text: str, longest: int) -> str:
    if len(text) > longest:
        text = f"{text[:longest]}… ({len(text)} characters)"
    return printable(text)


def _hex(value: bytes, longest: int, whole: int = 0) -> str:
    size = max(whole, len(value))
    more = f"… ({size} bytes)" if size > longest // 4 else ""
    return f"\\x{value[: longest // 4].hex()}{more}"
