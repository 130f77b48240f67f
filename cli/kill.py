"""`bastion kill`: end a session that runs."""

from __future__ import annotations

import click

from bastion.errors import StateError
from bastion.state.store import State
from cli.output import clean
from cli.play import find
from cli.settings import Settings, pass_settings
from cli.state import operator, with_state
from recorder.catalog import SessionRow, is_live


@click.command()
@click.argument("session", metavar="ID")
@click.option(
    "--message", default="this session was ended by an operator", help="What the person in it reads."
)
@pass_settings
def kill(settings: Settings, session: str, message: str) -> None:
    """End the session ID within a second. Its recording is sealed as "ended by operator"."""
    row = find(settings, session)
    if not is_live(row.path):
        raise StateError(f"the session {row.id} does not run", hint="See: bastion sessions --live")
    with_state(settings, lambda state: _request(state, row, message))
    click.echo(f"Asked the bastion to end {row.id} ({clean(row.user)} on {clean(row.target)}).")


async def _request(state: State, row: SessionRow, message: str) -> None:
    await state.audit.record("session.end-requested", user=operator(), session=row.id, message=message)
    await state.stops.request(row.id, message=message, by=operator())
