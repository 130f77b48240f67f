"""`bastion user`: lock and unlock people, and give a name to its next owner."""

from __future__ import annotations

import time
from datetime import timedelta

import click

from bastion.errors import StateError
from bastion.state.locks import Lock
from bastion.state.store import State
from cli.duration import to_duration
from cli.output import Column, clean, json_option, print_rows
from cli.settings import Settings, pass_settings
from cli.state import moment, operator, with_state


@click.group()
def user() -> None:
    """Lock and unlock users; release a name."""


@user.command("lock")
@click.argument("name", metavar="USER")
@click.option("--reason", required=True, help="Why; the person reads it.")
@click.option(
    "--for", "duration", metavar="DURATION", callback=to_duration, help="How long; by default until unlocked."
)
@pass_settings
def lock(settings: Settings, name: str, reason: str, duration: timedelta | None) -> None:
    """Let USER in by no way. Live sessions end within a second."""
    made = with_state(settings, lambda state: _lock(state, name, reason, duration))
    end = f"until {moment(made.until)}" if made.until is not None else "until unlocked"
    click.echo(f"Locked {clean(name)} {end}.")


@user.command("unlock")
@click.argument("name", metavar="USER")
@pass_settings
def unlock(settings: Settings, name: str) -> None:
    """Let USER in again."""
    with_state(settings, lambda state: _unlock(state, name))
    click.echo(f"Unlocked {clean(name)}.")


@user.command("locks")
@json_option
@pass_settings
def locks(settings: Settings, as_json: bool) -> None:
    """List who is locked."""
    found = with_state(settings, lambda state: state.locks.list())
    columns = [
        Column(key="user", title="USER"),
        Column(key="until", title="UNTIL", show=moment),
        Column(key="reason", title="REASON"),
        Column(key="locked_by", title="BY"),
        Column(key="locked_at", title="SINCE", show=moment),
    ]
    rows = [
        {
            "user": lock.user,
            "reason": lock.reason,
            "locked_by": lock.locked_by,
            "locked_at": lock.locked_at,
            "until": lock.until,
        }
        for lock in found
    ]
    print_rows(rows, columns, as_json=as_json, empty="Nobody is locked.")


@user.command("release")
@click.argument("name", metavar="USER")
@pass_settings
def release(settings: Settings, name: str) -> None:
    """Forget whose account the name USER is, so that the next sign-in under it may be somebody else's."""
    with_state(settings, lambda state: _release(state, name))
    click.echo(f"The next to sign in as {clean(name)} owns the name.")


async def _lock(state: State, name: str, reason: str, duration: timedelta | None) -> Lock:
    until = time.time() + duration.total_seconds() if duration is not None else None
    made = await state.locks.lock(name, reason=reason, by=operator(), until=until)
    await state.audit.record("user.locked", user=name, by=operator(), reason=reason, until=until)
    return made


async def _unlock(state: State, name: str) -> None:
    if not await state.locks.unlock(name):
        raise StateError(f"{name} is not locked.", hint="See: bastion user locks")
    await state.audit.record("user.unlocked", user=name, by=operator())


async def _release(state: State, name: str) -> None:
    if not await state.identities.release(name):
        raise StateError(f"The name {name} belongs to nobody: nobody ever signed in as {name}.")
    await state.audit.record("user.released", user=name, by=operator())
