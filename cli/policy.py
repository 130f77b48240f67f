"""`bastion policy explain`: what a person may do on a target, and what every rule says to it.

Asks policy, and the state for the groups of the person's last sign-in.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import NamedTuple

import click

from bastion.config.model import Config
from bastion.config.targets import PostgresTarget, Target
from bastion.connectors.postgres.databases import ANY
from bastion.errors import ConfigError, StateError
from bastion.state.store import State
from cli.output import Column, clean, json_option, print_json, print_rows
from cli.settings import Settings, pass_settings
from policy.decide import Decision, Limits
from policy.durations import format_duration
from policy.explain import Explanation, RuleAccount, explain
from policy.forwarding import End, listening_end
from policy.kubernetes import Pod
from policy.match import KUBERNETES, Aim, Subject, TargetFacts
from policy.postgres import Database, StatementLimits
from policy.rules import ACTIONS, Action


class Groups(NamedTuple):
    """Groups, and where we have them from."""

    names: tuple[str, ...]
    source: str


class _More(NamedTuple):
    """What the configuration says beyond the rules' yes or no."""

    account: str | None
    held_to: dict[str, str]


@click.group()
def policy() -> None:
    """Explain who may reach what."""


@policy.command("explain")
@click.argument("user")
@click.argument("target")
@click.option("--groups", metavar="A,B", help="The user's groups; by default those of the last sign-in.")
@click.option("--login", help="Ask about this login on the target; by default about any.")
@click.option("--action", type=click.Choice(ACTIONS), help="Ask about this action; by default about any.")
@click.option(
    "--end", metavar="HOST:PORT", help="With the action forward or listen: to or at this end, or socket."
)
@click.option(
    "--pod", metavar="NAMESPACE/POD", help="On a cluster, with the action shell or exec: in this pod."
)
@click.option(
    "--database",
    metavar="NAME",
    help="On a PostgreSQL server, with the action shell, exec or connect: in this one.",
)
@json_option
@pass_settings
def explain_command(
    settings: Settings,
    user: str,
    target: str,
    groups: str | None,
    login: str | None,
    action: Action | None,
    end: str | None,
    pod: str | None,
    database: str | None,
    as_json: bool,
) -> None:
    """Explain what USER may do on TARGET, and what every rule says to it."""
    config = settings.config
    found = _target(config, target)
    facts = TargetFacts(name=found.name, kind=found.kind, labels=found.labels)
    known = asyncio.run(_last_groups(config, user)) if groups is None else _named_groups(groups)
    if end is not None and action not in ("forward", "listen"):
        raise click.UsageError("--end goes with --action forward or --action listen")
    if pod is not None and (action not in ("shell", "exec") or facts.kind != KUBERNETES):
        raise click.UsageError("--pod goes with a cluster, and with --action shell or --action exec")
    subject = Subject(user=user, groups=known.names)
    wanted: Aim | None = _end(end, is_listening=action == "listen") if end is not None else None
    wanted = _pod(pod) if pod is not None else wanted
    wanted = _database(found, action, database) if database is not None else wanted
    explanation = explain(config.policy.rules, subject, facts, login=login, action=action, end=wanted)
    more = _More(_account(found, login), _held_to(config, explanation.decision))
    if as_json:
        print_json(_as_data(explanation, known, more))
    else:
        _print(explanation, known, more)


def _target(config: Config, name: str) -> Target:
    found: Target | None = config.target(name)
    if found is None:
        close = get_close_matches(name, [target.name for target in config.targets], n=1)
        instead = f"Did you mean {close[0]}?" if close else "bastion target list shows those there are."
        raise ConfigError(f"the configuration has no target {name}", hint=instead)
    return found


def _database(target: Target, action: Action | None, name: str) -> Database:
    if not isinstance(target, PostgresTarget) or action not in ("shell", "exec", "connect"):
        raise click.UsageError(
            "--database goes with a PostgreSQL server, and with --action shell, --action exec or --action connect"
        )
    if name not in target.databases and ANY not in target.databases:
        raise click.UsageError(
            f"{target.name} offers no database {name}; there is: {', '.join(target.databases)}"
        )
    return Database(name)


def _account(target: Target, login: str | None) -> str | None:
    """The role that a *login* is on a PostgreSQL server, or why it is none; None where nobody asks."""
    if not isinstance(target, PostgresTarget) or login is None:
        return None
    account = next((each for each in target.accounts if each.login == login), None)
    return f"there is none for {login}" if account is None else f"{account.role or login} on the server"


def _held_to(config: Config, decision: Decision) -> dict[str, str]:
    """What holds for a session that *decision* lets in, by the names of the settings."""
    if not decision.allowed:
        return {}
    general = Limits(config.sessions.idle_timeout, config.sessions.max_duration)
    session = Limits.narrowest([general, decision.limits])
    statements = StatementLimits.narrowest(rule.postgres for rule in decision.granting)
    spans = {
        "idle_timeout": session.idle_timeout,
        "max_duration": session.max_duration,
        "statement_timeout": statements.statement_timeout,
        "idle_in_transaction_timeout": statements.idle_in_transaction_timeout,
    }
    held = {"read_only": "true"} if statements.read_only else {}
    return held | {name: format_duration(span) for name, span in spans.items() if span is not None}


def _pod(text: str) -> Pod:
    namespace, slash, name = text.partition("/")
    if not namespace or not slash or not name:
        raise click.UsageError("write --pod as NAMESPACE/POD")
    return Pod(namespace, name)


def _end(text: str, *, is_listening: bool) -> End:
    if text.startswith("/"):
        end = End(path=text)
    else:
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal():
            raise click.UsageError("write --end as HOST:PORT, [ADDRESS]:PORT or /a/socket")
        bare = host.removeprefix("[").removesuffix("]")
        end = listening_end(bare, int(port)) if is_listening else End(host=bare, port=int(port))
    if end.problem:
        raise click.UsageError(f"--end {text}: {end.problem}")
    return end


def _named_groups(text: str) -> Groups:
    names = tuple(name for name in (part.strip() for part in text.split(",")) if name)
    return Groups(names, "as named")


async def _last_groups(config: Config, user: str) -> Groups:
    """The groups *user* brought along at their last sign-in, expired and revoked ones too."""
    hint = "Name their groups: --groups a,b"
    if not config.state_file.exists():
        raise StateError(f"the groups of {user} are not known: nobody has signed in yet", hint=hint)
    state = await State.open(config.state_file, create=False)
    try:
        grants = await state.grants.list(user=user, live_only=False)
    finally:
        await state.close()
    if not grants:
        raise StateError(f"the groups of {user} are not known: {user} has never signed in", hint=hint)
    moment = datetime.fromtimestamp(grants[0].issued_at, UTC)
    return Groups(grants[0].groups, f"from the sign-in of {moment:%Y-%m-%d %H:%M} UTC")


def _as_data(explanation: Explanation, groups: Groups, more: _More) -> dict[str, object]:
    return {
        "user": explanation.subject.user,
        "groups": groups.names,
        "groups_source": groups.source,
        "target": explanation.target.name,
        "kind": explanation.target.kind,
        "login": explanation.login,
        "action": explanation.action,
        "allowed": explanation.decision.allowed,
        "reason": explanation.decision.reason,
        "rule": explanation.decision.rule,
        "detail": explanation.decision.detail,
        "logins": explanation.logins,
        "account": more.account,
        "held_to": more.held_to,
        "rules": [_rule_as_data(account) for account in explanation.rules],
    }


def _rule_as_data(account: RuleAccount) -> dict[str, object]:
    return {
        "name": account.name,
        "effect": account.effect,
        "matches": account.is_match,
        "logins": account.logins,
        "actions": account.actions,
        "mismatches": account.mismatches,
    }


def _print(explanation: Explanation, groups: Groups, more: _More) -> None:
    subject, decision = explanation.subject, explanation.decision
    labels = " ".join(f"{label}={value}" for label, value in explanation.target.labels.items())
    wanted = f"{explanation.action or 'any action'} as {explanation.login or 'any login'}"
    lines = [
        f"Person    {subject.user}; groups: {', '.join(subject.groups) or 'none'} ({groups.source})",
        f"Target    {explanation.target.name} {labels}".rstrip(),
        f"Asked     {wanted}",
        f"Answer    {'yes' if decision.allowed else 'no'}: {decision.detail}",
        f"They see  {decision.reason}",
        *([f"Account   {more.account}"] if more.account else []),
        *([f"Held to   {', '.join(map(' = '.join, more.held_to.items()))}"] if more.held_to else []),
        *(f"{action:<9} {', '.join(names) or 'as nobody'}" for action, names in explanation.logins.items()),
    ]
    for line in lines:
        click.echo(clean(line))
    click.echo()
    columns = [
        Column(key="name", title="RULE"),
        Column(key="effect", title="EFFECT", is_whole=True),
        Column(key="matches", title="MATCHES", is_whole=True),
        Column(key="why", title="BECAUSE"),
    ]
    rows = [
        {
            "name": account.name,
            "effect": account.effect,
            "matches": "yes" if account.is_match else "no",
            "why": _why(account),
        }
        for account in explanation.rules
    ]
    print_rows(rows, columns, as_json=False, empty="There is no rule, so nothing is allowed.")


def _why(account: RuleAccount) -> str:
    if account.is_match:
        return f"logins {', '.join(account.logins)}; {', '.join(account.actions)}"
    return "; ".join(f"{gap.aspect}: for {gap.wanted}, not {gap.found}" for gap in account.mismatches)
