"""`bastion audit`: what happened, in the order it happened."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta

import click

from bastion.state.audit import AuditEvent
from cli.duration import to_duration
from cli.output import Column, json_option, print_rows
from cli.settings import Settings, pass_settings
from cli.state import moment, with_state


@click.command()
@click.option("--user", help="Only events of this user.")
@click.option("--session", metavar="ID", help="Only events of this session.")
@click.option("--event", help="Only this event, or all that begin with it: sign-in, ca, session.refused.")
@click.option("--since", metavar="DURATION", callback=to_duration, help="Only the last 8h, 7d, …")
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The latest so many."
)
@json_option
@pass_settings
def audit(
    settings: Settings,
    user: str | None,
    session: str | None,
    event: str | None,
    since: timedelta | None,
    limit: int,
    as_json: bool,
) -> None:
    """List what happened: sign-ins, refusals, changes."""
    begin = time.time() - since.total_seconds() if since is not None else None
    events = with_state(
        settings,
        lambda state: state.audit.list(user=user, session=session, event=event, since=begin, limit=limit),
    )
    columns = [
        Column(key="time", title="TIME", show=moment, is_whole=True),
        Column(key="event", title="EVENT"),
        Column(key="user", title="USER"),
        Column(key="session", title="SESSION", is_whole=True),
        Column(key="client", title="CLIENT"),
        Column(key="detail", title="DETAIL", show=_detail),
    ]
    print_rows([_row(found) for found in events], columns, as_json=as_json, empty="Nothing has happened.")


def _row(event: AuditEvent) -> dict[str, object]:
    return {
        "id": event.id,
        "time": event.time,
        "event": event.event,
        "user": event.user,
        "session": event.session,
        "client": event.client,
        "detail": event.detail,
    }


def _detail(detail: Mapping[str, object]) -> str:
    return " ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in detail.items()
    )
