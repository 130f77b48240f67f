from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from policy.rules import ACTIONS, AuditorRule, Rule

WHOLE: dict[str, Any] = {"name": "r", "groups": ["g"], "targets": ["*"], "logins": ["*"]}


@pytest.mark.parametrize(
    ("missing", "words"), [("groups", "whom"), ("targets", "which targets"), ("logins", "which logins")]
)
def test_an_allow_rule_that_says_too_little_is_refused_and_told_what_to_add(missing: str, words: str) -> None:
    settings = {key: value for key, value in WHOLE.items() if key != missing}
    with pytest.raises(ValidationError, match=words):
        Rule.model_validate(settings)


def test_a_deny_rule_for_nobody_in_particular_is_refused() -> None:
    with pytest.raises(ValidationError, match="whom"):
        Rule.model_validate({"name": "r", "effect": "deny", "targets": ["*"]})


def test_what_a_deny_rule_leaves_out_it_denies() -> None:
    rule = Rule.model_validate({"name": "r", "effect": "deny", "users": ["mallory"]})
    assert rule.targets == rule.logins == ("*",)
    assert rule.actions == ACTIONS


def test_what_an_allow_rule_leaves_out_it_does_not_allow() -> None:
    assert Rule.model_validate(WHOLE).actions == ("shell", "exec", "connect")


def test_labels_may_stand_in_for_targets() -> None:
    rule = Rule.model_validate({"name": "r", "groups": ["g"], "labels": {"env": "s"}, "logins": ["*"]})
    assert rule.targets == ()


def test_an_auditor_rule_for_nobody_is_refused() -> None:
    with pytest.raises(ValidationError, match="who the auditors are"):
        AuditorRule.model_validate({"targets": ["*"]})


def test_the_name_of_a_rule_cannot_steer_a_terminal() -> None:
    with pytest.raises(ValidationError, match="printable"):
        Rule.model_validate({**WHOLE, "name": "a\x1b[2J"})
