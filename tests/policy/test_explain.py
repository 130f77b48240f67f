from __future__ import annotations

from policy.decide import Subject, TargetFacts
from policy.explain import explain
from policy.match import Mismatch
from policy.rules import Rule

ALICE = Subject(user="alice", groups=("developers",))
WEB = TargetFacts(name="web-1", labels={"env": "prod"})
DEVELOPERS = Rule(name="dev", groups=("developers",), targets=("web-*",), logins=("deploy",))
ADMINS = Rule(
    name="admins",
    groups=("admins",),
    targets=("db-*",),
    labels={"env": "test", "x": "y"},
    logins=("root",),
    actions=(),
)


def test_a_rule_that_does_not_match_tells_every_reason() -> None:
    account = explain([ADMINS], ALICE, WEB, "alice", "shell").rules[0]
    assert account.mismatches == (
        Mismatch(aspect="who", wanted="group admins", found="alice in developers"),
        Mismatch(aspect="target", wanted="db-*", found="web-1"),
        Mismatch(aspect="labels", wanted="env=test", found="env=prod"),
        Mismatch(aspect="labels", wanted="x=y", found="no such label"),
        Mismatch(aspect="login", wanted="root", found="alice"),
        Mismatch(aspect="action", wanted="nothing", found="shell"),
    )


def test_a_login_or_action_that_is_not_asked_about_is_no_reason() -> None:
    account = explain([DEVELOPERS], ALICE, WEB)
    assert account.rules[0].is_match
    assert account.logins == {"shell": ("deploy",), "exec": ("deploy",), "sftp": ()}


def test_a_no_to_everything_says_whether_the_target_is_seen() -> None:
    hidden = explain([], ALICE, WEB, action="sftp").decision
    assert hidden.reason == "there is no target web-1 that you may reach"
    seen = explain([DEVELOPERS], ALICE, WEB, action="sftp").decision
    assert seen.reason == "no rule lets you transfer files on web-1"
