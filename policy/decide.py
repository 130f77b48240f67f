"""The decisions: may this person reach this target, as this login, doing this; and whose sessions they may see.

Deny wins and no rule means no. Pure functions of their arguments: no clock, no I/O, no memory. A decision speaks
twice: `reason` to the person, telling nothing of rules and of targets they may not see, `detail` to the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from policy.kubernetes import Pod
from policy.match import (
    Aim,
    Subject,
    TargetFacts,
    is_for,
    is_for_pod,
    is_match,
    is_partial,
    logins_of,
    mismatches,
)
from policy.patterns import any_matches, is_concrete, is_login, some_login
from policy.postgres import Database
from policy.rules import ACTIONS, Action, AuditorRule, Rule, actions_on

__all__ = [
    "DOING",
    "Decision",
    "Limits",
    "Subject",
    "TargetFacts",
    "Way",
    "decide",
    "logins",
    "may_audit",
    "may_reach",
    "no_such_target",
    "pods_open",
    "quoted",
    "ways",
]

DOING: dict[Action, str] = {
    "shell": "open a shell",
    "exec": "run a command",
    "sftp": "transfer files",
    "connect": "connect a client of your own",
    "forward": "forward connections",
    "listen": "listen for connections",
    "agent": "use your agent",
    "x11": "open windows",
}
"""Actions as words that stand after "may"."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a session may be, idle and in all; None is without an end."""

    idle_timeout: timedelta | None = None
    max_duration: timedelta | None = None

    @classmethod
    def narrowest(cls, several: Iterable[Limits]) -> Limits:
        """The least of each: a limit that one rule sets is not lifted by another one."""
        limits = list(several)
        return cls(
            min((each.idle_timeout for each in limits if each.idle_timeout is not None), default=None),
            min((each.max_duration for each in limits if each.max_duration is not None), default=None),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Yes or no. *rule* names the rule that decided, None when none matched; only operators may see it and *detail*."""

    allowed: bool
    reason: str
    rule: str | None = None
    detail: str = ""
    granting: tuple[Rule, ...] = ()
    """The allow rules that match, where it is yes: what they say beyond it holds for the session."""

    @property
    def limits(self) -> Limits:
        return Limits.narrowest(Limits(rule.idle_timeout, rule.max_duration) for rule in self.granting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way onto a target that is open: a login pattern, a login that it matches, an action."""

    pattern: str
    login: str
    action: Action


def decide(
    rules: Sequence[Rule],
    subject: Subject,
    target: TargetFacts,
    login: str,
    action: Action,
    end: Aim | None = None,
) -> Decision:
    """Whether *subject* may do *action* on *target* as *login*; forwarding and listening, to or at that *end*."""
    matching = [rule for rule in rules if is_match(rule, subject, target, login, action, end)]
    denying = next((rule for rule in matching if rule.effect == "deny"), None)
    if not is_login(login):  # "*" in a rule means any login, not any text
        rule, detail = None, "not the syntax of a login"
    elif denying is not None:
        rule, detail = denying.name, f"rule {denying.name!r} denies it"
    elif not matching:
        rule, detail = None, "no allow rule matches"
    else:
        rule, detail = matching[0].name, f"rule {matching[0].name!r} allows it"
        reason = f"you may {_doing(action, end)} on {target.name} as {login}"
        return Decision(allowed=True, reason=reason, rule=rule, detail=detail, granting=tuple(matching))
    if not may_reach(rules, subject, target):
        return no_such_target(target.name, rule=rule, detail=detail)
    return Decision(
        allowed=False, reason=_refusal(rules, subject, target, login, action, end), rule=rule, detail=detail
    )


def pods_open(
    rules: Sequence[Rule], subject: Subject, target: TargetFacts, login: str, action: Action
) -> Callable[[Pod], bool]:
    """Whether `decide` would allow it in a pod, for many pods: all that does not depend on the pod is asked once."""
    here = [
        rule
        for rule in rules
        if all(found.aspect == "pod" for found in mismatches(rule, subject, target, login, action))
    ]

    def is_open(pod: Pod) -> bool:
        effects = {rule.effect for rule in here if is_for_pod(rule, pod)}
        return effects == {"allow"}

    return is_open


def no_such_target(
    name: str, *, rule: str | None = None, detail: str = "no target has this name"
) -> Decision:
    """The one answer for a target that does not exist and for one the person may not see."""
    reason = f"there is no target {quoted(name)} that you may reach"
    return Decision(allowed=False, reason=reason, rule=rule, detail=detail)


def logins(
    rules: Sequence[Rule], subject: Subject, target: TargetFacts, actions: Sequence[Action] | None = None
) -> list[str]:
    """The logins *subject* may use on *target* for any of *actions* (None: for anything), in the order of the rules.

    Concrete logins only; patterns with wildcards are listed only when there is nothing concrete.
    """
    open_ways = ways(rules, subject, target, ACTIONS if actions is None else actions)
    found = list(dict.fromkeys(way.pattern for way in open_ways))
    return [login for login in found if is_concrete(login)] or found


def may_reach(rules: Sequence[Rule], subject: Subject, target: TargetFacts) -> bool:
    """Whether *subject* may do anything at all on *target*: some login and some action survive the denies."""
    return next(ways(rules, subject, target), None) is not None


def may_audit(auditors: Sequence[AuditorRule], subject: Subject, *, owner: str, target: str) -> Decision:
    """Whether *subject* may see a session of *owner* on *target*. Everybody may see their own."""
    if owner and owner == subject.user:
        return Decision(allowed=True, reason="it is your own session", detail="own session")
    for number, rule in enumerate(auditors):
        if is_for(rule, subject) and any_matches(rule.targets, target):
            name = f"auditors[{number}]"
            return Decision(
                allowed=True,
                reason="you may see this session",
                rule=name,
                detail=f"{name} names {subject.user}",
            )
    return Decision(
        allowed=False, reason="you may see only your own sessions there", detail="no auditor rule matches"
    )


def ways(
    rules: Sequence[Rule], subject: Subject, target: TargetFacts, actions: Sequence[Action] = ACTIONS
) -> Iterator[Way]:
    """Each way onto *target*: the login patterns of allow rules of which the denies leave something, by action."""
    here = [rule for rule in rules if is_match(rule, subject, target)]
    denies = [rule for rule in here if rule.effect == "deny"]
    denied = {
        action: tuple(
            pattern
            for rule in denies
            if action in rule.actions and not is_partial(rule, action)
            for pattern in logins_of(rule, subject)
        )
        for action in actions
        if action in actions_on(target.kind)
    }
    for rule in here:
        if rule.effect == "deny":
            continue
        for pattern in logins_of(rule, subject):
            for action in denied:
                if action in rule.actions and (login := some_login(pattern, denied[action])) is not None:
                    yield Way(pattern=pattern, login=login, action=action)


def _is_open(
    rules: Sequence[Rule], subject: Subject, target: TargetFacts, login: str, action: Action, end: Aim
) -> bool:
    matching = [rule.effect for rule in rules if is_match(rule, subject, target, login, action, end)]
    return bool(matching) and "deny" not in matching


def _doing(action: Action, end: Aim | None) -> str:
    if end is None:
        return DOING[action]
    where = "in" if isinstance(end, Pod | Database) else "at" if action == "listen" else "to"
    return f"{DOING[action]} {where} {end}"


def _refusal(
    rules: Sequence[Rule],
    subject: Subject,
    target: TargetFacts,
    login: str,
    action: Action,
    end: Aim | None,
) -> str:
    """A person who may reach *target* hears what they may not do there, and as whom they may."""
    if not is_login(login):
        return f"{quoted(login)} cannot be a login"
    others = logins(rules, subject, target, [action])
    if end is not None:
        others = [each for each in others if _is_open(rules, subject, target, each, action, end)]
    instead = (
        f"; you may as {', '.join(others)}"
        if others
        else _pods_instead(rules, subject, target, login, action)
    )
    return f"no rule lets you {_doing(action, end)} on {target.name} as {login}{instead}"


def _pods_instead(
    rules: Sequence[Rule], subject: Subject, target: TargetFacts, login: str, action: Action
) -> str:
    """Where else on a cluster it is open to them: the namespaces, and the pods where not all, that rules name."""
    allowing = [
        rule.kubernetes
        for rule in rules
        if rule.effect == "allow" and rule.kubernetes and is_match(rule, subject, target, login, action)
    ]
    places = [
        ", ".join(terms.namespaces) + ("" if "*" in terms.pods else f" (pods {', '.join(terms.pods)})")
        for terms in allowing
    ]
    return f"; you may in the namespaces {'; '.join(places)}" if places else ""


def quoted(text: str) -> str:
    """A name as it came from a person, fit for their terminal and a log line."""
    shown = text if len(text) <= 64 else f"{text[:64]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown) or '""'
