"""Which statements plainly lift read-only, and what goes to the server in their place. No server is needed."""

from __future__ import annotations

import pytest

from bastion.connectors.postgres.framing import ClientFraming
from bastion.connectors.postgres.guard import guarded, lifts_read_only
from bastion.connectors.postgres.messages import message


@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN READ WRITE",
        "begin isolation level serializable, read write",
        "START TRANSACTION READ  WRITE;",
        "SELECT 1; SET TRANSACTION READ WRITE; DELETE FROM items",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "/* a word */ SET -- another\n transaction_read_only = off",
        "SET LOCAL transaction_read_only TO 'off'",
        "SET default_transaction_read_only = false",
    ],
)
def test_statement_that_plainly_lifts_it_is_known(statement: str) -> None:
    assert lifts_read_only(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN READ ONLY",
        "SELECT 'set transaction read write'",
        "SHOW transaction_read_only",
        "SET default_transaction_read_only = on",
        "SELECT 1 -- ; SET transaction_read_only = off",
        "SET search_path = read, write",
        "",
    ],
)
def test_statement_that_does_not_is_left_alone(statement: str) -> None:
    assert not lifts_read_only(statement)


def test_such_a_statement_makes_way_and_its_neighbours_do_not() -> None:
    framing = ClientFraming(held=b"FQP")
    before, lifts, after = (
        message(b"Q", b"SELECT 1\0"), message(b"P", b"name\0BEGIN READ WRITE\0\0\1\0\0\0\x17"), message(b"S"),
    )  # fmt: skip
    passed = [guarded(piece) for piece in framing.feed(before + lifts + after)]
    assert (passed[0], passed[2]) == (before, after)
    assert passed[1].startswith(b"P")
    assert b"\0DO $bastion$" in passed[1].replace(b"name", b"", 1)
    assert passed[1].endswith(b"$bastion$\0\0\0")
