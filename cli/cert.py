"""`bastion cert`: list and revoke sign-ins, and with them their certificates."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from bastion.errors import StateError
from bastion.state.grants import Grant, grant_problem
from bastion.state.store import State
from cli.output import Column, clean, json_option, print_json, print_rows
from cli.settings import Settings, pass_settings
from cli.state import moment, operator, with_state

SHORTEST_SERIAL = 6
"""Hexadecimal digits by which a serial may be named; fewer are rather a slip, or a user's name."""


@click.group()
def cert() -> None:
    """List and revoke sign-ins and their certificates."""


@cert.command("list")
@click.option("--user", help="Only those of this user.")
@click.option("--all", "with_dead", is_flag=True, help="Expired and revoked ones too.")
@json_option
@pass_settings
def list_command(settings: Settings, user: str | None, with_dead: bool, as_json: bool) -> None:
    """List the sign-ins that are good now."""
    grants = with_state(settings, lambda state: state.grants.list(user=user, live_only=not with_dead))
    columns = [
        Column(key="serial", title="SERIAL", is_whole=True),
        Column(key="user", title="USER"),
        Column(key="status", title="STATUS"),
        Column(key="method", title="METHOD"),
        Column(key="issued_at", title="SINCE", show=moment),
        Column(key="valid_before", title="UNTIL", show=moment),
        Column(key="client_address", title="FROM"),
        Column(key="groups", title="GROUPS", show=", ".join),
        Column(key="key_fingerprint", title="KEY"),
    ]
    print_rows([_row(grant) for grant in grants], columns, as_json=as_json, empty="Nobody is signed in.")


@cert.command("revoke")
@click.argument("whom", metavar="SERIAL|USER")
@click.option("--reason", required=True, help="Why, for the person and the audit trail.")
@json_option
@pass_settings
def revoke(settings: Settings, whom: str, reason: str, as_json: bool) -> None:
    """Revoke one sign-in by its serial, or all of a user. Live sessions end within a second.

    A serial is written as `bastion cert list` and the logs of targets show it; its first digits will do. A user can
    sign in again; to prevent that: bastion user lock
    """
    revoked = with_state(settings, lambda state: _revoke(state, whom, reason))
    if as_json:
        print_json([_row(grant) for grant in revoked])
        return
    for grant in revoked:
        click.echo(
            f"Revoked {_serial(grant)} of {clean(grant.user)}, good until {moment(grant.valid_before)}."
        )


async def _revoke(state: State, whom: str, reason: str) -> Sequence[Grant]:
    live, by = await state.grants.list(), operator()
    if any(grant.user == whom for grant in live):
        revoked = await state.grants.revoke_user(whom, by=by, reason=reason)
    else:
        grant = await state.grants.revoke(_named(live, whom).serial, by=by, reason=reason)
        revoked = [grant] if grant is not None else []
    for grant in revoked:
        await state.audit.record(
            "sign-in.revoked", user=grant.user, serial=_serial(grant), by=by, reason=reason
        )
    return revoked


def _named(live: Sequence[Grant], digits: str) -> Grant:
    """The one grant whose serial begins with *digits*; StateError when there is none, or several."""
    chosen = [grant for grant in live if _serial(grant).startswith(digits.lower())]
    if len(chosen) == 1 and len(digits) >= SHORTEST_SERIAL:
        return chosen[0]
    if chosen:
        raise StateError(
            f"{digits} is the beginning of {len(chosen)} serials.",
            hint=f"Write more of the serial, at least {SHORTEST_SERIAL} digits.",
        )
    raise StateError(
        f"Nobody is signed in as {digits}, nor with a serial that begins so.", hint="See: bastion cert list"
    )


def _row(grant: Grant) -> dict[str, object]:
    return {
        "serial": _serial(grant),
        "key_id": grant.key_id,
        "user": grant.user,
        "groups": list(grant.groups),
        "status": _status(grant, time.time()),
        "method": grant.method,
        "issuer": grant.issuer,
        "subject": grant.subject,
        "client_address": grant.client_address,
        "key_fingerprint": grant.key_fingerprint,
        "issued_at": grant.issued_at,
        "valid_before": grant.valid_before,
        "ca_key": grant.ca_key_id,
        "revoked_at": grant.revoked_at,
        "revoked_by": grant.revoked_by,
        "revoked_reason": grant.revoked_reason,
    }


def _serial(grant: Grant) -> str:
    """As it stands in key ids."""
    return f"{grant.serial:x}"


def _status(grant: Grant, now: float) -> str:
    if grant.revoked_at is not None:
        return "revoked"
    return "expired" if grant_problem(grant, now) else "good"
