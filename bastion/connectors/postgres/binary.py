"""Values in PostgreSQL's binary form, as the server would write them in text (pg_type.dat has the OIDs of types).

The forms are those of the types' send functions in PostgreSQL's source (src/backend/utils/adt); what is not known here
is shown in hexadecimal by whoever asks. Dates and times are shown in UTC, whatever the client's time zone is.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address

TEXTS = frozenset({18, 19, 25, 114, 142, 705, 1042, 1043})
"""Types whose binary form is their text."""

_ARRAYS = {
    199: 114, 1000: 16, 1001: 17, 1002: 18, 1003: 19, 1005: 21, 1007: 23, 1009: 25, 1014: 1042, 1015: 1043,
    1016: 20, 1021: 700, 1022: 701, 1028: 26, 1041: 869, 1115: 1114, 1182: 1082, 1183: 1083, 1185: 1184, 1187: 1186,
    1231: 1700, 2951: 2950, 3807: 3802,
}  # fmt: skip
"""Types of arrays, and of what."""
_MOST_ELEMENTS = 1000
"""Elements of an array that are looked at; a cut follows, so the rest would not be seen."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_PLAIN = re.compile(r"[^\s{},\"\\]+")


def decode_binary(value: bytes, oid: int) -> str | None:
    """*value* of the type *oid* as text; None for a type that is not known here.

    Raises struct.error, ValueError, OverflowError and IndexError for what is no value of it.
    """
    if oid in TEXTS:
        return value.decode()
    if oid in _ARRAYS:
        return _array(value)
    decode = _TYPES.get(oid)
    return None if decode is None else decode(value)


def _number(layout: str) -> Callable[[bytes], str]:
    return lambda value: str(struct.unpack(f"!{layout}", value)[0])


def _numeric(value: bytes) -> str:
    """Digits to the base of 10,000: how many, the weight of the first, the sign, how many decimals to show."""
    count, weight, sign, scale = struct.unpack_from("!HhHH", value)
    if sign in _NO_NUMBERS:
        return _NO_NUMBERS[sign]
    digits = struct.unpack(f"!{count}H", value[8:])
    if abs(weight) > _MOST_ELEMENTS or scale > 4 * _MOST_ELEMENTS:
        raise ValueError("a number of more digits than anybody reads")
    before = [digits[n] if n < count else 0 for n in range(weight + 1)] or [0]
    after = "".join(
        f"{digits[n] if 0 <= n < count else 0:04}" for n in range(weight + 1, weight + 2 + scale // 4)
    )
    whole = str(before[0]) + "".join(f"{digit:04}" for digit in before[1:])
    return ("-" if sign else "") + whole + (f".{after[:scale]}" if scale else "")


_NO_NUMBERS = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}


def _moment(value: bytes) -> str:
    (microseconds,) = struct.unpack("!q", value)
    if microseconds in _NO_MOMENTS:
        return _NO_MOMENTS[microseconds]
    return _trimmed(str((_EPOCH + timedelta(microseconds=microseconds)).replace(tzinfo=None)))


_NO_MOMENTS = {(1 << 63) - 1: "infinity", -(1 << 63): "-infinity"}


def _day(value: bytes) -> str:
    (days,) = struct.unpack("!i", value)
    return {(1 << 31) - 1: "infinity", -(1 << 31): "-infinity"}.get(days) or str(
        date(2000, 1, 1) + timedelta(days=days)
    )


def _time(value: bytes) -> str:
    (microseconds,) = struct.unpack("!q", value)
    return _trimmed(str((_EPOCH + timedelta(microseconds=microseconds)).time()))


def _trimmed(text: str) -> str:
    return text.rstrip("0") if "." in text else text


def _span(value: bytes) -> str:
    microseconds, days, months = struct.unpack("!qii", value)
    parts = [f"{count} {unit}" for count, unit in ((months, "months"), (days, "days")) if count]
    if microseconds or not parts:
        parts.append(f"{microseconds / 1_000_000:f} seconds")
    return " ".join(parts)


def _address(value: bytes) -> str:
    bits, is_network, size = value[1], value[2], value[3]
    address = ip_address(value[4 : 4 + size])
    return f"{address}/{bits}" if is_network or bits != address.max_prefixlen else str(address)


def _array(value: bytes) -> str:
    """Dimensions, whether there are NULLs, the type of the elements; size and lower bound of each; the elements."""
    dimensions, _, oid = struct.unpack_from("!iiI", value)
    if not 0 <= dimensions <= 6:
        raise ValueError("more dimensions than an array can have")
    sizes = [struct.unpack_from("!i", value, 12 + 8 * n)[0] for n in range(dimensions)]
    elements: list[str] = []
    at = 12 + 8 * dimensions
    while at < len(value) and len(elements) < _MOST_ELEMENTS:
        (length,) = struct.unpack_from("!i", value, at)
        at += 4
        elements.append("NULL" if length < 0 else _element(value[at : at + length], oid))
        at += max(0, length)
    for size in reversed(sizes[1:]):
        elements = [
            "{" + ",".join(elements[n : n + size]) + "}" for n in range(0, len(elements), max(1, size))
        ]
    return "{" + ",".join(elements) + "}"


def _element(value: bytes, oid: int) -> str:
    text = decode_binary(value, oid)
    if text is None:
        return f"\\x{value.hex()}"
    if _PLAIN.fullmatch(text) and text.upper() != "NULL":
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_TYPES: dict[int, Callable[[bytes], str]] = {
    16: lambda value: "t" if value == b"\1" else "f",
    20: _number("q"), 21: _number("h"), 23: _number("i"), 26: _number("I"),
    700: _number("f"), 701: _number("d"), 1700: _numeric,
    650: _address, 869: _address,
    1082: _day, 1083: _time, 1114: _moment, 1184: _moment, 1186: _span,
    2950: lambda value: str(uuid.UUID(bytes=value)),
    3802: lambda value: value[1:].decode(),
}  # fmt: skip
