"""Messages of PostgreSQL's protocol 3: how they are made and taken apart (PostgreSQL documentation, chapter 55).

A message is a byte that says its kind, four bytes of length that count themselves, and a body. Those of the start-up
have no kind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

LENGTH = struct.Struct("!I")
PROTOCOL_3 = 3 << 16
LARGEST_STARTUP = 10_000
"""Bytes, as the server itself allows."""

CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104

IDLE = ord("I")
IN_TRANSACTION = ord("T")
FAILED_TRANSACTION = ord("E")


class Malformed(Exception):
    """Bytes that are none of the protocol's."""


def message(kind: bytes, body: bytes = b"") -> bytes:
    """A message as it goes over the wire."""
    return kind + LENGTH.pack(len(body) + 4) + body


def request(code: int, body: bytes = b"") -> bytes:
    """A message of the start-up."""
    return LENGTH.pack(len(body) + 8) + LENGTH.pack(code) + body


def parameters(values: Mapping[str, str]) -> bytes:
    """The body of a start-up message behind its version."""
    return b"".join(_text(name) + _text(value) for name, value in values.items()) + b"\0"


def complaint(kind: bytes, severity: str, code: str, text: str, hint: str = "") -> bytes:
    """An error (kind `E`) or a notice (`N`): *code* is an SQLSTATE."""
    fields = {"S": severity, "V": severity, "C": code, "M": text, "H": hint}
    body = b"".join(name.encode() + _text(value) for name, value in fields.items() if value)
    return message(kind, body + b"\0")


def fields_of(body: bytes) -> dict[str, str]:
    """The fields of an error or a notice, by their letters."""
    return {
        chr(part[0]): part[1:].decode("utf-8", "replace") for part in body.rstrip(b"\0").split(b"\0") if part
    }


def text_at(body: bytes, at: int = 0) -> tuple[str, int]:
    """The text that begins *at*, and where what follows it begins. Raises Malformed where it does not end."""
    end = body.find(b"\0", at)
    if end < 0:
        raise Malformed("a text without an end")
    return body[at:end].decode("utf-8", "replace"), end + 1


def pairs(body: bytes) -> Iterator[tuple[str, str]]:
    """The parameters of a start-up message."""
    at = 0
    while at < len(body) and body[at]:
        name, at = text_at(body, at)
        value, at = text_at(body, at)
        yield name, value


def _text(value: str) -> bytes:
    return value.replace("\0", "").encode() + b"\0"
