"""What rules say of the statements of a session, held to: read-only transactions, and how long things may take.

The server is told so in the start-up, and a client may tell it otherwise later on. So statements that plainly lift
read-only are put out of action, and the clocks run here as well. None of it is a fence: what a function or a DO block
does inside the server nobody sees from here. The rights of the role are the fence.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta

from bastion.connectors.postgres.framing import Piece
from bastion.connectors.postgres.messages import message, text_at
from bastion.connectors.postgres.startup import Refused
from bastion.connectors.postgres.transcript import Transcript
from policy.decide import Decision
from policy.postgres import StatementLimits

QUERY, PARSE = ord("Q"), ord("P")

_NOT_CODE = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
_LIFTS = re.compile(
    r"\s*(?:(?:begin|start\s+transaction|set)\b.*\bread\s+write\b"
    r"|set\s+(?:session\s+|local\s+)?(?:default_)?transaction_read_only\b(?!\s*(?:=|to)\s*(?:on|true|1|yes)\s*$))",
    re.IGNORECASE | re.DOTALL,
)

_REFUSAL = (
    "DO $bastion$ BEGIN RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction',"
    " MESSAGE = 'the bastion lets you read only here', HINT = 'Ask for a role that may write.'; END $bastion$"
)
"""Put in the place of a statement, it fails there and then: a transaction and a pipeline take it as any failure."""

_SLACK = 1.0
"""Seconds that the server has to do by itself what it was told to."""


def limits_of(decision: Decision) -> StatementLimits:
    """What the rules behind *decision* say of statements."""
    return StatementLimits.narrowest(rule.postgres for rule in decision.granting)


def told_to_server(limits: StatementLimits) -> dict[str, str]:
    """The parameters of a start-up that say so; they outdo what `options` says."""
    told: dict[str, str] = {}
    if limits.read_only:
        told["default_transaction_read_only"] = "on"
    if limits.statement_timeout is not None:
        told["statement_timeout"] = _milliseconds(limits.statement_timeout)
    if limits.idle_in_transaction_timeout is not None:
        told["idle_in_transaction_session_timeout"] = _milliseconds(limits.idle_in_transaction_timeout)
    return told


def lifts_read_only(text: str) -> bool:
    """Whether one of the statements in *text* plainly makes a transaction one that may write."""
    code = _NOT_CODE.sub(" ", text)
    return any(_LIFTS.match(statement) for statement in code.split(";"))


def guarded(piece: Piece) -> bytes:
    """The bytes to pass on of *piece*, where all is read-only: what lifts that makes way for a statement that fails."""
    match piece.messages:
        case ((kind, body, _),) if kind == QUERY and lifts_read_only(text_at(body)[0]):
            return message(b"Q", _REFUSAL.encode() + b"\0")
        case ((kind, body, _),) if kind == PARSE:
            name, at = text_at(body)
            if lifts_read_only(text_at(body, at)[0]):
                return message(b"P", name.encode() + b"\0" + _REFUSAL.encode() + b"\0\0\0")
    return piece.data


async def watch_statements(
    limits: StatementLimits, transcript: Transcript, cancel: Callable[[], Awaitable[None]]
) -> None:
    """Call *cancel* where a statement runs for too long. Raises Refused for a transaction that is left alone."""
    longest, idle = _seconds(limits.statement_timeout), _seconds(limits.idle_in_transaction_timeout)
    shortest = min(longest, idle)
    if shortest == float("inf"):
        return
    while True:
        await asyncio.sleep(min(1.0, shortest / 4))
        running, left_alone = transcript.running_for, transcript.left_alone_for
        if running is not None and running > longest + _SLACK:
            await cancel()
        if left_alone is not None and left_alone > idle + _SLACK:
            raise Refused("25P03", "a transaction was kept open for too long without doing anything in it")


def _milliseconds(span: timedelta) -> str:
    return str(max(1, round(span.total_seconds() * 1000)))


def _seconds(span: timedelta | None) -> float:
    return float("inf") if span is None else span.total_seconds()
