"""Values of parameters and results as text that people read, also where they came in binary form."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

from bastion.runtime.logs import printable

LONGEST = 200
"""Characters of a value in a result that are shown."""
LONGEST_PARAMETER = 8 * 1024
"""The same of a parameter: what is done may hang on it."""

Format = int
TEXT, BINARY = 0, 1

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def shown(value: bytes | None, oid: int = 0, form: Format = TEXT, longest: int = LONGEST) -> str:
    """A value in one line, of at most *longest* characters and a word about the rest; NULL for None."""
    if value is None:
        return "NULL"
    if form == TEXT:
        return _cut(value.decode("utf-8", "replace"), longest)
    decode = _BINARY.get(oid)
    try:
        return _cut(decode(value), longest) if decode is not None else _hex(value, longest)
    except (struct.error, ValueError, OverflowError, UnicodeDecodeError):
        return _hex(value, longest)


def formats(codes: Sequence[Format], count: int) -> list[Format]:
    """The format of each of *count* values, by the rule of Bind: none is text for all, one is for all."""
    if len(codes) == 1:
        return [codes[0]] * count
    return [codes[n] if n < len(codes) else TEXT for n in range(count)]


def _cut(text: str, longest: int) -> str:
    if len(text) > longest:
        text = f"{text[:longest]}… ({len(text)} characters)"
    return printable(text)


def _hex(value: bytes, longest: int) -> str:
    more = f"… ({len(value)} bytes)" if len(value) > longest // 4 else ""
    return f"\\x{value[: longest // 4].hex()}{more}"


def _number(layout: str) -> Callable[[bytes], str]:
    return lambda value: str(struct.unpack(f"!{layout}", value)[0])


def _moment(value: bytes) -> str:
    (microseconds,) = struct.unpack("!q", value)
    return str((_EPOCH + timedelta(microseconds=microseconds)).replace(tzinfo=None))


def _day(value: bytes) -> str:
    (days,) = struct.unpack("!i", value)
    return str(date(2000, 1, 1) + timedelta(days=days))


def _text(value: bytes) -> str:
    return value.decode()


_BINARY: dict[int, Callable[[bytes], str]] = {
    16: lambda value: "t" if value == b"\1" else "f",
    18: _text, 19: _text, 25: _text, 114: _text, 1042: _text, 1043: _text, 142: _text, 705: _text,
    20: _number("q"), 21: _number("h"), 23: _number("i"), 26: _number("I"),
    700: _number("f"), 701: _number("d"),
    1082: _day, 1114: _moment, 1184: _moment,
    2950: lambda value: str(uuid.UUID(bytes=value)),
    3802: lambda value: value[1:].decode(),
}  # fmt: skip
"""By the OID of the type (PostgreSQL's pg_type.dat)."""
