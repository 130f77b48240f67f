"""Whether one rule matches one attempt, and where it does not.

`decide.py` asks only whether, `explain.py` asks where: both read the same answer, so they cannot disagree. Nothing
here knows what a match leads to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from policy.forwarding import End, fits
from policy.kubernetes import KubernetesTerms, Pod
from policy.patterns import any_matches, login_pattern, matches
from policy.postgres import Database, PostgresTerms
from policy.rules import Action, AuditorRule, Rule, actions_on

Aspect = Literal["who", "target", "labels", "login", "action", "end", "pod", "database"]
Aim = End | Pod | Database
"""What of a target an action is aimed at, where rules may tell one from another."""


KUBERNETES = "kubernetes"
POSTGRES = "postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The person who asks: the user name and the groups of their sign-in."""

    user: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """What rules may know of a target."""

    name: str
    kind: str = "ssh"
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One reason why a rule does not match: it wants this, the attempt has that."""

    aspect: Aspect
    wanted: str
    found: str


def mismatches(
    rule: Rule,
    subject: Subject,
    target: TargetFacts,
    login: str | None = None,
    action: Action | None = None,
    end: Aim | None = None,
) -> Iterator[Mismatch]:
    """Every reason why *rule* does not match; none if it does. A login or an action that is None is not asked about.

    Without an *end*, an action that has one is asked about for some end: a deny of certain ends does not match then.
    """
    if not is_for(rule, subject):
        wanted = [f"group {group}" for group in rule.groups] + [f"user {user}" for user in rule.users]
        found = (
            f"{subject.user} in {_listed(subject.groups)}"
            if subject.groups
            else f"{subject.user} in no group"
        )
        yield Mismatch(aspect="who", wanted=_listed(wanted), found=found)
    yield from target_mismatches(rule, target)
    if login is not None and not any_matches(logins_of(rule, subject), login):
        yield Mismatch(aspect="login", wanted=_listed(rule.logins), found=login)
    if action is not None and action not in rule.actions:
        yield Mismatch(aspect="action", wanted=_listed(rule.actions), found=action)
    elif action is not None and action not in actions_on(target.kind):
        offered = f"what there is on targets of the kind {target.kind}: {_listed(actions_on(target.kind))}"
        yield Mismatch(aspect="action", wanted=offered, found=action)
    if action is not None and (ends := ends_of(rule, action)):
        is_fit = fits(ends, end) if isinstance(end, End) else rule.effect == "allow"
        if not is_fit:
            yield Mismatch(aspect="end", wanted=_listed(ends), found=str(end or "any end"))
    if rule.kubernetes is not None and action is not None and target.kind == KUBERNETES:
        yield from _pod_mismatches(rule, rule.kubernetes, end)
    if rule.postgres is not None and action is not None and target.kind == POSTGRES:
        yield from _database_mismatches(rule, rule.postgres, end)


def _pod_mismatches(rule: Rule, terms: KubernetesTerms, aim: Aim | None) -> Iterator[Mismatch]:
    is_deny = rule.effect == "deny"
    match aim:
        case Pod():
            is_fit = terms.covers_all(aim) and not terms.is_of_requests if is_deny else terms.covers(aim)
        case _:
            is_fit = not is_deny
    if not is_fit:
        wanted = f"pods {_listed(terms.pods)} in the namespaces {_listed(terms.namespaces)}"
        yield Mismatch(aspect="pod", wanted=wanted, found=str(aim or "any pod"))


def _database_mismatches(rule: Rule, terms: PostgresTerms, aim: Aim | None) -> Iterator[Mismatch]:
    is_fit = terms.covers(aim) if isinstance(aim, Database) else rule.effect == "allow"
    if not is_fit:
        yield Mismatch(aspect="database", wanted=_listed(terms.databases), found=str(aim or "any database"))


def target_mismatches(rule: Rule, target: TargetFacts) -> Iterator[Mismatch]:
    """The reasons that lie in the target: its name, and each label that it does not have as *rule* wants it.

    A deny rule that speaks of namespaces and pods is for clusters alone, one of databases for PostgreSQL servers.
    """
    kinds = [kind for kind in (KUBERNETES, POSTGRES) if getattr(rule, kind) is not None]
    if rule.effect == "deny" and kinds and target.kind not in kinds:
        yield Mismatch(
            aspect="target",
            wanted=f"targets of the kind {_listed(kinds)}",
            found=f"{target.name}, of the kind {target.kind}",
        )
    if (rule.targets or not rule.labels) and not any_matches(rule.targets, target.name):
        yield Mismatch(aspect="target", wanted=_listed(rule.targets), found=target.name)
    for label, pattern in rule.labels.items():
        value = target.labels.get(label)
        if value is None or not matches(pattern, value):
            found = "no such label" if value is None else f"{label}={value}"
            yield Mismatch(aspect="labels", wanted=f"{label}={pattern}", found=found)


def is_partial(rule: Rule, action: Action) -> bool:
    """Whether *rule* is for some of what *action* may be aimed at, and not for all."""
    return bool(ends_of(rule, action)) or rule.kubernetes is not None or rule.postgres is not None


def ends_of(rule: Rule, action: Action) -> tuple[str, ...]:
    """The ends that *rule* is for in *action*; none where it has no ends, or is for all of them."""
    match action:
        case "forward":
            return rule.forward
        case "listen":
            return rule.listen
        case _:
            return ()


def is_match(
    rule: Rule,
    subject: Subject,
    target: TargetFacts,
    login: str | None = None,
    action: Action | None = None,
    end: Aim | None = None,
) -> bool:
    """Whether *rule* matches."""
    return next(mismatches(rule, subject, target, login, action, end), None) is None


def is_for_pod(rule: Rule, pod: Pod) -> bool:
    """Whether what *rule* says of namespaces and pods fits *pod*."""
    return rule.kubernetes is None or next(_pod_mismatches(rule, rule.kubernetes, pod), None) is None


def names_target(rule: Rule, target: TargetFacts) -> bool:
    """Whether *rule* is about *target*, whoever asks."""
    return next(target_mismatches(rule, target), None) is None


def is_for(rule: Rule | AuditorRule, subject: Subject) -> bool:
    """Whether *subject* is one of those whom *rule* names."""
    return _is_named(rule.groups, rule.users, subject)


@lru_cache(maxsize=4096)  # the same for every target in the picker
def _is_named(groups: tuple[str, ...], users: tuple[str, ...], subject: Subject) -> bool:
    if "*" in groups or any_matches(users, subject.user):
        return True
    return any(any_matches(groups, group) for group in subject.groups)


def logins_of(rule: Rule, subject: Subject) -> list[str]:
    """The login patterns of *rule* with the name of *subject* put in."""
    patterns = (login_pattern(pattern, subject.user) for pattern in rule.logins)
    return [pattern for pattern in patterns if pattern is not None]


def _listed(values: tuple[str, ...] | list[str]) -> str:
    return ", ".join(values) if values else "nothing"
