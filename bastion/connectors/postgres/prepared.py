"""Prepared statements and portals of one connection, as far as they must be known to say what is executed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bastion.connectors.postgres.messages import Malformed, text_at
from bastion.connectors.postgres.values import LONGEST_PARAMETER, Format, formats, shown

MOST_KEPT = 2000
MOST_TEXT = 8 * 1024 * 1024
"""Characters of statements that are kept; those prepared first are forgotten first."""


@dataclass(slots=True)
class Field:
    """A column of a result: its name, the OID of its type, and the format it comes in where that is known."""

    name: str
    oid: int
    form: Format


@dataclass(slots=True)
class Prepared:
    """A statement that was parsed. *oids* are the types of its parameters, *fields* its result, where known."""

    text: str
    oids: Sequence[int] = ()
    fields: Sequence[Field] = ()


@dataclass(slots=True)
class Portal:
    """A statement with its parameters, ready to be executed; *forms* are the formats asked for of its result.

    *shown* and *size* are the rows, and their bytes, that were looked at: a client may take a result in many portions.
    """

    statement: Prepared
    parameters: Sequence[str] = ()
    forms: Sequence[Format] = ()
    fields: Sequence[Field] = ()
    shown: int = 0
    size: int = 0

    @property
    def result(self) -> list[Field]:
        """The columns of its result in the formats that they come in."""
        if self.fields:
            return list(self.fields)
        forms = formats(self.forms, len(self.statement.fields))
        return [
            Field(each.name, each.oid, form) for each, form in zip(self.statement.fields, forms, strict=True)
        ]


@dataclass(slots=True)
class Names:
    """What names mean. The empty one is the statement, and the portal, that has none."""

    statements: OrderedDict[str, Prepared] = field(default_factory=OrderedDict)
    portals: OrderedDict[str, Portal] = field(default_factory=OrderedDict)
    _size: int = 0

    def parse(self, body: bytes) -> Prepared:
        """Take a Parse message. Raises Malformed."""
        name, at = text_at(body)
        text, at = text_at(body, at)
        count = int.from_bytes(body[at : at + 2])
        oids = [int.from_bytes(body[at + 2 + 4 * n : at + 6 + 4 * n]) for n in range(count)]
        prepared = Prepared(text, oids)
        self._forget(name)
        self.statements[name] = prepared
        self._size += len(text)
        while len(self.statements) > MOST_KEPT or (self._size > MOST_TEXT and len(self.statements) > 1):
            self._forget(next(iter(self.statements)))
        return prepared

    def bind(self, body: bytes, size: int) -> Portal:
        """Take a Bind message of *size* bytes, of which *body* is the beginning. Raises Malformed."""
        name, at = text_at(body)
        statement, at = text_at(body, at)
        prepared = self.statements.get(statement) or Prepared("(a statement prepared long ago)")
        codes, at = _numbers(body, at)
        count, at = int.from_bytes(body[at : at + 2]), at + 2
        forms = formats(codes, count)
        parameters: list[str] = []
        for number in range(count):
            length = int.from_bytes(body[at : at + 4], signed=True)
            at += 4
            if at > len(body):
                parameters.append(f"(the rest of {size} bytes)")
                break
            oid = prepared.oids[number] if number < len(prepared.oids) else 0
            value = None if length < 0 else body[at : at + length]
            parameters.append(shown(value, oid, forms[number], LONGEST_PARAMETER, whole=length))
            at += max(0, length)
        wanted, _ = _numbers(body, at) if at < len(body) else ([], at)
        portal = self.portals[name] = Portal(prepared, parameters, wanted)
        self.portals.move_to_end(name)
        if len(self.portals) > MOST_KEPT:
            self.portals.popitem(last=False)
        return portal

    def close(self, body: bytes) -> None:
        """Take a Close message. Raises Malformed."""
        name, _ = text_at(body, 1)
        if body[:1] == b"S":
            self._forget(name)
        else:
            self.portals.pop(name, None)

    def of(self, body: bytes) -> Prepared | Portal | None:
        """What a Describe message is about; None for what was never heard of. Raises Malformed."""
        name, _ = text_at(body, 1)
        return self.statements.get(name) if body[:1] == b"S" else self.portals.get(name)

    def _forget(self, name: str) -> None:
        if (gone := self.statements.pop(name, None)) is not None:
            self._size -= len(gone.text)


def described(body: bytes) -> list[Field]:
    """The columns that a RowDescription names. Raises Malformed."""
    found: list[Field] = []
    at = 2
    for _ in range(int.from_bytes(body[:2])):
        try:
            name, at = text_at(body, at)
        except Malformed:
            break  # more columns than are looked into
        found.append(
            Field(name, int.from_bytes(body[at + 6 : at + 10]), int.from_bytes(body[at + 16 : at + 18]))
        )
        at += 18
    return found


def cells(body: bytes, fields: Sequence[Field]) -> list[str]:
    """The values of a row as text, as far as it is looked into."""
    found: list[str] = []
    at = 2
    for number in range(int.from_bytes(body[:2])):
        length = int.from_bytes(body[at : at + 4], signed=True)
        at += 4
        column = fields[number] if number < len(fields) else Field("", 0, 0)
        value = None if length < 0 else body[at : at + length]
        found.append(shown(value, column.oid, column.form))
        at += max(0, length)
        if at > len(body):
            break
    return found


def _numbers(body: bytes, at: int) -> tuple[list[int], int]:
    count = int.from_bytes(body[at : at + 2])
    end = at + 2 + 2 * count
    return [int.from_bytes(body[place : place + 2]) for place in range(at + 2, end, 2)], end
