"""`bastion retention`: what the rules would remove, and removing it."""

from __future__ import annotations

import time

import click
from rich.filesize import decimal

from bastion.config.model import Config
from bastion.ops.retention import Survey, apply, survey
from bastion.state.store import State
from cli.output import Column, clean, counted, json_option, print_json, print_rows
from cli.progress import progress_bar
from cli.removed import as_data
from cli.sessions import require_folder
from cli.settings import Settings, pass_settings
from cli.state import operator, with_state
from recorder.index import Index
from recorder.retention import DAY, Removal
from recorder.seals import Removed


@click.group()
def retention() -> None:
    """Remove recordings by the rules in [recording.retention]."""


@retention.command("plan")
@json_option
@pass_settings
def plan(settings: Settings, as_json: bool) -> None:
    """Show which recordings would be removed now, and why. Removes nothing."""
    found = _survey(settings)
    if as_json:
        print_json(_as_data(found))
    else:
        _print(settings.config, found)


@retention.command("apply")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@json_option
@pass_settings
def apply_command(settings: Settings, is_sure: bool, as_json: bool) -> int:
    """Remove the recordings that the plan shows.

    Of each its entry in the chain of seals remains: whose session it was, on what, when, the digest, and who removed it
    by which rule. See: bastion sessions --removed. Exits with 1 if some could not be removed.
    """
    config = settings.config
    found = _survey(settings)
    count = len(found.plan.removals) + len(found.unfinished)
    if not as_json:
        _print(config, found)
    if count and not is_sure:
        click.confirm(f"Remove {counted(count)} for good?", abort=True, err=True)
    done = with_state(settings, lambda state: _apply(config, state, found, is_quiet=as_json))
    if as_json:
        print_json({"removed": [as_data(entry) for entry in done]})
    elif count:
        freed = sum(entry.size or 0 for entry in done)
        click.echo(f"Removed {counted(len(done))}, {decimal(freed)}.")
    return 0 if len(done) == count else 1


def _survey(settings: Settings) -> Survey:
    require_folder(settings.config.recordings_folder)
    return with_state(settings, lambda state: survey(settings.config, state, time.time()))


async def _apply(config: Config, state: State, found: Survey, *, is_quiet: bool) -> list[Removed]:
    total = len(found.plan.removals) + len(found.unfinished)
    done: list[Removed] = []
    with progress_bar("Removing", total, counts=True, is_quiet=is_quiet) as tell:
        index = await Index.open(config.recordings_folder)
        try:
            async for entry in apply(config, state, index, found, by=operator(), now=time.time):
                done.append(entry)
                tell(len(done), None)
        finally:
            await index.close()
    if done:
        await state.audit.record(
            "retention.applied",
            user=operator(),
            recordings=len(done),
            bytes=sum(entry.size or 0 for entry in done),
        )
    return done


def _print(config: Config, found: Survey) -> None:
    if not config.recording.retention.rules:
        click.echo("There are no rules in [recording.retention], so nothing is ever removed.", err=True)
    columns = [
        Column(key="session", title="SESSION", is_whole=True),
        Column(key="user", title="USER"),
        Column(key="target", title="TARGET"),
        Column(key="age_days", title="AGE", show=lambda days: f"{days:.0f}d", is_number=True),
        Column(key="bytes", title="SIZE", show=decimal, is_number=True),
        Column(key="rule", title="RULE"),
        Column(key="reason", title="WHY"),
    ]
    now = time.time()
    rows = [_removal_data(removal, now) for removal in found.plan.removals]
    rows += [{**_removal_data(one.removal, now), "reason": f"stays: {one.hold}"} for one in found.plan.held]
    print_rows(rows, columns, as_json=False, empty="Nothing is to be removed now.")
    if rows:
        count = len(found.plan.removals)
        click.echo(f"{counted(count)} to remove, {decimal(found.plan.size)}.", err=True)
    if found.unfinished:
        click.echo(f"An earlier run left {counted(len(found.unfinished))} half removed.", err=True)
    for excess in found.plan.excesses:
        click.echo(
            f"Rule {clean(excess.rule)} stays {decimal(excess.bytes)} above its size: the rest is too young to go.",
            err=True,
        )
    if found.unchained:
        click.echo(
            f"{counted(len(found.unchained))} not in the chain of seals stay: bastion verify --all tells more.",
            err=True,
        )


def _as_data(found: Survey) -> dict[str, object]:
    now = time.time()
    return {
        "remove": [_removal_data(removal, now) for removal in found.plan.removals],
        "bytes": found.plan.size,
        "held": [{**_removal_data(one.removal, now), "hold": one.hold} for one in found.plan.held],
        "unfinished": [as_data(entry) for entry in found.unfinished],
        "above_size": [{"rule": excess.rule, "bytes": excess.bytes} for excess in found.plan.excesses],
        "not_in_the_chain": list(found.unchained),
    }


def _removal_data(removal: Removal, now: float) -> dict[str, object]:
    row = removal.row
    assert row.ended_at is not None
    return {
        "session": row.id,
        "user": row.user,
        "target": row.target,
        "age_days": round((now - row.ended_at) / DAY, 2),
        "bytes": removal.size,
        "rule": removal.rule,
        "reason": removal.reason,
    }
