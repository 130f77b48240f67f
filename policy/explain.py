"""Why a decision is what it is: every rule, and where it fits and where not. For operators, never for the person.

Reads the same mismatches as `decide.py`, so an explanation cannot tell another story than the decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policy.decide import DOING, Decision, decide, logins, may_reach, no_such_target, ways
from policy.match import Aim, Mismatch, Subject, TargetFacts, mismatches
from policy.rules import FORWARDING, Action, Rule, actions_on


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleAccount:
    """What one rule has to say: nothing in *mismatches* means that it matches."""

    name: str
    effect: str
    logins: tuple[str, ...]
    actions: tuple[Action, ...]
    mismatches: tuple[Mismatch, ...]

    @property
    def is_match(self) -> bool:
        return not self.mismatches


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The decision, each rule's account in the order of the file, and the logins open for each action."""

    subject: Subject
    target: TargetFacts
    login: str | None
    action: Action | None
    decision: Decision
    rules: tuple[RuleAccount, ...]
    logins: Mapping[Action, tuple[str, ...]]


def explain(
    rules: Sequence[Rule],
    subject: Subject,
    target: TargetFacts,
    login: str | None = None,
    action: Action | None = None,
    end: Aim | None = None,
) -> Explanation:
    """Account for what *subject* may do on *target*; without a login or an action, for any of them.

    *end* is that of an action that has one. Of forwarding, the logins tell only where it is open.
    """
    open_logins: dict[Action, tuple[str, ...]] = {
        a: found
        for a in actions_on(target.kind)
        if (found := tuple(logins(rules, subject, target, [a]))) or a not in FORWARDING
    }
    return Explanation(
        subject=subject,
        target=target,
        login=login,
        action=action,
        decision=_decision(rules, subject, target, login, action, end),
        rules=tuple(
            RuleAccount(
                name=rule.name,
                effect=rule.effect,
                logins=rule.logins,
                actions=rule.actions,
                mismatches=tuple(mismatches(rule, subject, target, login, action, end)),
            )
            for rule in rules
        ),
        logins=open_logins,
    )


def _decision(
    rules: Sequence[Rule],
    subject: Subject,
    target: TargetFacts,
    login: str | None,
    action: Action | None,
    end: Aim | None,
) -> Decision:
    """The decision on the attempt asked about; of several, the first that is a yes, or else the first no."""
    actions = actions_on(target.kind) if action is None else (action,)
    if login is None:
        attempts = [(way.login, way.action) for way in ways(rules, subject, target, actions)]
    else:
        attempts = [(login, tried) for tried in actions]
    decisions = [decide(rules, subject, target, *attempt, end) for attempt in attempts]
    if not decisions:
        detail = "no allow rule matches, or denies outweigh those that do"
        if not may_reach(rules, subject, target):
            return no_such_target(target.name, detail=detail)
        doing = " or ".join(DOING[tried] for tried in actions)
        return Decision(allowed=False, reason=f"no rule lets you {doing} on {target.name}", detail=detail)
    return next((decision for decision in decisions if decision.allowed), decisions[0])
