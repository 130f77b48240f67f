"""What must hold for every policy, tried on random small ones."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from policy.decide import Subject, TargetFacts, decide, logins, may_reach, no_such_target, ways
from policy.explain import explain
from policy.patterns import is_concrete
from policy.rules import ACTIONS, Action, Rule
from tests.policy.strategies import actions, denies, policies, some_logins, subjects, targets


@given(policies, denies, st.integers(0, 5), subjects, targets, some_logins, actions)
def test_adding_a_deny_never_allows_more(
    rules: list[Rule],
    deny: Rule,
    place: int,
    subject: Subject,
    target: TargetFacts,
    login: str,
    action: Action,
) -> None:
    more = [*rules[:place], deny, *rules[place:]]
    if decide(more, subject, target, login, action).allowed:
        assert decide(rules, subject, target, login, action).allowed
    assert may_reach(rules, subject, target) or not may_reach(more, subject, target)


@given(policies, subjects, targets, some_logins, actions)
def test_removing_an_allow_never_allows_more(
    rules: list[Rule], subject: Subject, target: TargetFacts, login: str, action: Action
) -> None:
    allowed = decide(rules, subject, target, login, action).allowed
    for removed in (rule for rule in rules if rule.effect == "allow"):
        fewer = [rule for rule in rules if rule is not removed]
        assert allowed or not decide(fewer, subject, target, login, action).allowed


@given(subjects, targets, some_logins, actions)
def test_the_empty_policy_denies_everything(
    subject: Subject, target: TargetFacts, login: str, action: Action
) -> None:
    assert not decide([], subject, target, login, action).allowed
    assert not may_reach([], subject, target)


@given(policies, subjects, targets, some_logins, actions)
def test_a_policy_without_allows_denies_everything(
    rules: list[Rule], subject: Subject, target: TargetFacts, login: str, action: Action
) -> None:
    only_denies = [rule for rule in rules if rule.effect == "deny"]
    assert not decide(only_denies, subject, target, login, action).allowed


@given(policies, st.randoms(), subjects, targets, some_logins, actions)
def test_the_order_of_rules_does_not_matter(
    rules: list[Rule], random: Random, subject: Subject, target: TargetFacts, login: str, action: Action
) -> None:
    shuffled = random.sample(rules, len(rules))
    assert (
        decide(rules, subject, target, login, action).allowed
        == decide(shuffled, subject, target, login, action).allowed
    )


@given(policies, subjects, targets, some_logins, actions)
def test_what_is_allowed_is_within_reach(
    rules: list[Rule], subject: Subject, target: TargetFacts, login: str, action: Action
) -> None:
    if decide(rules, subject, target, login, action).allowed:
        assert may_reach(rules, subject, target)
        assert logins(rules, subject, target, [action])


@given(policies, subjects, targets)
def test_every_way_that_is_listed_is_really_open(
    rules: list[Rule], subject: Subject, target: TargetFacts
) -> None:
    for way in ways(rules, subject, target):
        assert decide(rules, subject, target, way.login, way.action).allowed
    for login in filter(is_concrete, logins(rules, subject, target)):
        assert any(decide(rules, subject, target, login, action).allowed for action in ACTIONS)


@given(policies, subjects, targets, some_logins, actions)
def test_the_person_hears_nothing_of_rules_and_of_targets_out_of_reach(
    rules: list[Rule], subject: Subject, target: TargetFacts, login: str, action: Action
) -> None:
    decision = decide(rules, subject, target, login, action)
    assert "SECRET" not in decision.reason
    if not may_reach(rules, subject, target):
        assert decision.reason == no_such_target(target.name).reason


@given(policies, subjects, targets, some_logins, actions)
def test_explain_agrees_with_decide(
    rules: list[Rule], subject: Subject, target: TargetFacts, login: str, action: Action
) -> None:
    account = explain(rules, subject, target, login, action)
    assert account.decision == decide(rules, subject, target, login, action)
    matching = [rule for rule in account.rules if rule.is_match]
    is_denied = any(rule.effect == "deny" for rule in matching)
    if login[0] != "-":  # no login begins so, whatever the rules say
        assert account.decision.allowed is (bool(matching) and not is_denied)


@given(policies, subjects, targets, some_logins, actions)
def test_explain_of_any_login_or_action_is_a_yes_when_there_is_one(
    rules: list[Rule], subject: Subject, target: TargetFacts, login: str, action: Action
) -> None:
    assert explain(rules, subject, target).decision.allowed is may_reach(rules, subject, target)
    of_login = explain(rules, subject, target, login=login).decision.allowed
    assert of_login is any(decide(rules, subject, target, login, tried).allowed for tried in ACTIONS)
    of_action = explain(rules, subject, target, action=action)
    assert of_action.decision.allowed is bool(of_action.logins.get(action))
