"""`bastion hold`: keep recordings that retention would remove."""

from __future__ import annotations

import click

from bastion.errors import StateError
from bastion.state.holds import Hold
from bastion.state.store import State
from cli.output import Column, clean, json_option, print_json, print_rows
from cli.sessions import open_index
from cli.settings import Settings, pass_settings
from cli.state import moment, operator, with_state


@click.group()
def hold() -> None:
    """Place and lift legal holds: what is held is never removed by retention."""


@hold.command("add")
@click.argument("session", required=False)
@click.option("--user", help="Hold what this user did; wildcards * and ? are understood.")
@click.option("--target", help="Hold what happened on this target; with --user both must fit.")
@click.option("--reason", required=True, help="Why.")
@click.option("--case", help="What the matter is called, such as a number of a file.")
@json_option
@pass_settings
def add(
    settings: Settings,
    session: str | None,
    user: str | None,
    target: str | None,
    reason: str,
    case: str | None,
    as_json: bool,
) -> None:
    """Hold one SESSION, or all of a user or on a target, also those to come."""
    if (session is None) == (user is None and target is None):
        raise click.UsageError("Name a session, or --user or --target or both.")
    for value, option in ((user, "--user"), (target, "--target"), (reason, "--reason")):
        if value is not None and not value.strip():
            raise click.UsageError(f"{option} is empty.")

    async def work(state: State) -> Hold:
        return await _add(
            state, settings, session=session, user=user, target=target, reason=reason, case=case
        )

    made = with_state(settings, work)
    if as_json:
        print_json(made)
    else:
        click.echo(f"Hold {made.id} is on {clean(made.scope)}.")


@hold.command("remove")
@click.argument("number", type=int)
@pass_settings
def remove(settings: Settings, number: int) -> None:
    """Lift the hold NUMBER. What it held goes when a rule says so and no other hold covers it."""
    lifted = with_state(settings, lambda state: _remove(state, number))
    click.echo(f"Hold {lifted.id} on {clean(lifted.scope)} is lifted.")


@hold.command("list")
@click.option("--all", "is_all", is_flag=True, help="Also holds that were lifted.")
@json_option
@pass_settings
def list_command(settings: Settings, is_all: bool, as_json: bool) -> None:
    """List the holds in force."""
    found = with_state(settings, lambda state: state.holds.list(lifted=is_all))
    if as_json:
        print_json(found)
        return
    columns = [
        Column(key="id", title="HOLD", is_number=True),
        Column(key="scope", title="ON"),
        Column(key="reason", title="REASON"),
        Column(key="case", title="CASE"),
        Column(key="placed_by", title="BY"),
        Column(key="placed_at", title="SINCE", show=moment),
    ]
    if is_all:
        columns += [
            Column(key="lifted_by", title="LIFTED BY"),
            Column(key="lifted_at", title="LIFTED", show=moment),
        ]
    rows = [{column.key: getattr(one, column.key) for column in columns} for one in found]
    print_rows(rows, columns, as_json=False, empty="Nothing is held.")


async def _add(
    state: State,
    settings: Settings,
    *,
    session: str | None,
    user: str | None,
    target: str | None,
    reason: str,
    case: str | None,
) -> Hold:
    if session is not None:
        index = await open_index(settings.config.recordings_folder)
        try:
            session = (await index.find(session)).id
        finally:
            await index.close()
    by = operator()
    made = await state.holds.place(session=session, user=user, target=target, reason=reason, case=case, by=by)
    await state.audit.record(
        "hold.placed",
        user=user,
        session=session,
        by=by,
        hold=made.id,
        target=target,
        reason=reason,
        case=case,
    )
    return made


async def _remove(state: State, number: int) -> Hold:
    by = operator()
    lifted = await state.holds.lift(number, by=by)
    if lifted is None:
        raise StateError(f"There is no hold {number} in force.", hint="See: bastion hold list --all")
    await state.audit.record(
        "hold.lifted",
        user=lifted.user,
        session=lifted.session,
        by=by,
        hold=lifted.id,
        target=lifted.target,
        reason=lifted.reason,
        case=lifted.case,
    )
    return lifted
