"""`bastion target`: add, list, check and scan targets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict

import click

from bastion.ca.authorities import Authorities
from bastion.config.targets import KubernetesTarget, SshTarget, Target
from bastion.errors import ConfigError
from bastion.ops.clusters import manifest
from bastion.ops.targets import Check, check, login_to_try, scan
from bastion.state.store import State
from cli.output import Column, clean, json_option, print_json, print_rows
from cli.settings import Settings, pass_settings
from cli.state import with_state
from cli.target_add import add, add_kubernetes, add_postgres


@click.group()
def target() -> None:
    """Add, list, check and scan targets."""


for command in (add, add_postgres, add_kubernetes):
    target.add_command(command)


@target.command("list")
@json_option
@pass_settings
def list_targets(settings: Settings, as_json: bool) -> None:
    """List the targets."""
    rows = [
        {
            "name": t.name,
            "kind": t.kind,
            "address": t.place,
            "login": t.login,
            "labels": t.labels,
            "description": t.description,
        }
        for t in settings.config.targets
    ]
    columns = [
        Column(key="name", title="name", is_whole=True),
        Column(key="kind", title="kind"),
        Column(key="address", title="address"),
        Column(key="login", title="login"),
        Column(
            key="labels", title="labels", show=lambda labels: " ".join(f"{k}={v}" for k, v in labels.items())
        ),
        Column(key="description", title="description"),
    ]
    print_rows(rows, columns, as_json=as_json, empty="There is no target. Add one with: bastion target add")


@target.command("check")
@click.argument("name", required=False)
@click.option("--login", help="The login to try; by default one that sessions take.")
@json_option
@pass_settings
def check_targets(settings: Settings, name: str | None, login: str | None, as_json: bool) -> int:
    """Sign in to the target NAME, or to every one, as a session would."""
    chosen = settings.config.targets if name is None else (_named(settings, name),)
    results = with_state(settings, lambda state: _check(state, settings, chosen, login))
    if as_json:
        print_json([{**asdict(result), "ok": result.is_good} for result in results])
    else:
        for result in results:
            click.echo(f"{result.target}: {'ok' if result.is_good else 'FAILED'} (as {result.login})")
            for line in result.notes:
                click.echo(f"  {clean(line)}")
            if result.is_behind:
                click.echo("  It does not know the present key of the target CA: bastion ca show target")
            for line in (result.problem, result.hint):
                if line:
                    click.echo(f"  {clean(line)}")
    return 0 if all(result.is_good for result in results) else 1


async def _check(
    state: State, settings: Settings, targets: Sequence[Target], login: str | None
) -> list[Check]:
    config = settings.config
    authorities = await Authorities.open(
        config.keys_folder, state, config.certificates, config.server.public_name, time.time
    )
    rules = config.policy.rules
    return [await check(t, _login(t, settings, login), authorities, rules) for t in targets]


def _login(chosen: Target, settings: Settings, login: str | None) -> str:
    found = login or login_to_try(chosen, settings.config.policy.rules)
    if found is None:
        raise ConfigError(f"no rule names a login for {chosen.name}", hint="Name one with --login.")
    return found


@target.command("manifest")
@click.argument("name")
@click.option(
    "--user", help="Who the bastion is to the cluster: the CN of its certificate, or its token's user."
)
@click.option("--service-account", metavar="NAMESPACE/NAME", help="The same, where it is a service account.")
@click.option("--group", "groups", multiple=True, help="A group to speak for, beside those that rules name.")
@click.option(
    "--person", "people", multiple=True, help="A person to speak for, and nobody who is not named so."
)
@pass_settings
def print_manifest(
    settings: Settings,
    name: str,
    user: str | None,
    service_account: str | None,
    groups: Sequence[str],
    people: Sequence[str],
) -> None:
    """Print what the cluster NAME must grant the bastion, for kubectl apply -f -."""
    chosen = _named(settings, name)
    if not isinstance(chosen, KubernetesTarget):
        raise ConfigError(f"{name} is no Kubernetes cluster: it is of the kind {chosen.kind}")
    if user and service_account:
        raise click.UsageError("the bastion is either a --user or a --service-account")
    if chosen.kubeconfig is None and not user:
        service_account = service_account or "bastion/bastion"
    if service_account and service_account.count("/") != 1:
        raise click.UsageError("write --service-account NAMESPACE/NAME")
    rules = settings.config.policy.rules
    text = manifest(
        chosen, rules, user=user or "", service_account=service_account or "", groups=groups, people=people
    )
    click.echo(text, nl=False)


@target.command("scan")
@click.argument("name")
@json_option
@pass_settings
def scan_target(settings: Settings, name: str, as_json: bool) -> int:
    """Show the host keys of the target NAME, and which of them are on record."""
    chosen = _named(settings, name)
    if not isinstance(chosen, SshTarget):
        raise ConfigError(f"{name} is no SSH host, so it has no host keys")
    keys = asyncio.run(scan(chosen.address, chosen.port, chosen.host_keys))
    if as_json:
        print_json(keys)
    else:
        for key in keys:
            click.echo(f"{'recorded' if key.is_recorded else 'NEW     '}  {key.fingerprint}  {key.line}")
        if not all(key.is_recorded for key in keys) and not chosen.host_ca:
            click.echo(f"\nIf a new key is right, put its line into host_keys of {name}.", err=True)
    return 0 if any(key.is_recorded for key in keys) or chosen.host_ca else 1


def _named(settings: Settings, name: str) -> Target:
    found = settings.config.target(name)
    if found is None:
        raise ConfigError(f"there is no target {name!r}", hint="See: bastion target list")
    return found
