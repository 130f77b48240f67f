"""The audit trail: what happened to whom, in the order it happened. Rows are added and never changed.

The database itself forbids updates and deletes, against mistakes; who owns the file can still replace it. Each event
is logged as well, so that it also stands where the logs are shipped to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from bastion.runtime.logs import masked, printable
from bastion.state.database import Database, Row

LONGEST_TEXT = 1024
MOST_ITEMS = 64
_EVENT = re.compile(r"[a-z][a-z-]*(\.[a-z][a-z-]*)+")

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One event; *time* in Unix seconds. Texts are printable as they stand."""

    id: int
    time: float
    event: str
    user: str | None
    session: str | None
    client: str | None
    detail: Mapping[str, Json]


class Audit:
    """The table of audit events."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now
        self._log = structlog.get_logger("bastion.audit")

    async def record(
        self,
        event: str,
        *,
        user: str | None = None,
        session: str | None = None,
        client: str | None = None,
        **detail: object,
    ) -> None:
        """Append and log one event, named like `sign-in.accepted`.

        Values may come from anybody: control characters are escaped, secrets masked, long ones cut.
        """
        if not _EVENT.fullmatch(event):
            raise ValueError(f"{event!r} is no event name such as sign-in.accepted")
        who = {
            name: None if value is None else _text(value)
            for name, value in (("user", user), ("session", session), ("client", client))
        }
        facts = _bounded(masked(detail))
        await self._database.fetch(
            "INSERT INTO audit_events (time, event, user, session, client, detail) VALUES (?, ?, ?, ?, ?, ?)",
            *(self._now(), event, who["user"], who["session"], who["client"]),
            json.dumps(facts, ensure_ascii=False),
        )
        # What the detail is called must not displace what the log line itself is made of.
        self._log.info("audit", audit=event, **{k: v for k, v in who.items() if v is not None}, detail=facts)

    async def list(
        self,
        *,
        user: str | None = None,
        event: str | None = None,
        session: str | None = None,
        since: float | None = None,
        limit: int = 100,
    ) -> list[AuditEvent]:
        """The latest *limit* events that match, oldest first; *event* may be a whole name or its beginning (`ca`)."""
        rows = await self._database.fetch(
            "SELECT * FROM audit_events WHERE (?1 IS NULL OR user = ?1) AND (?2 IS NULL OR session = ?2)"
            " AND (?3 IS NULL OR event = ?3 OR substr(event, 1, length(?3) + 1) = ?3 || '.')"
            " AND (?4 IS NULL OR time >= ?4) ORDER BY id DESC LIMIT ?5",
            *(user, session, event, since, limit),
        )
        return [_event(row) for row in reversed(rows)]


def _bounded(value: object) -> Json:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {_text(str(key)): _bounded(item) for key, item in list(value.items())[:MOST_ITEMS]}
        case list() | tuple():
            return [_bounded(item) for item in value[:MOST_ITEMS]]
        case _:
            return _text(str(value))


def _text(value: str) -> str:
    shown = printable(value[: LONGEST_TEXT + 1])
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"


def _event(row: Row) -> AuditEvent:
    fields = dict(row)
    return AuditEvent(**{**fields, "detail": json.loads(fields["detail"])})
