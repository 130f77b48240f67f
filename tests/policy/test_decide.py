from __future__ import annotations

import pytest

from policy.decide import Subject, TargetFacts, decide, logins, may_audit, may_reach, no_such_target
from policy.rules import AuditorRule, Rule

ALICE = Subject(user="alice", groups=("developers",))
WEB = TargetFacts(name="web-1", labels={"env": "staging", "role": "web"})
DEVELOPERS = Rule(name="dev", groups=("developers",), targets=("web-*",), logins=("deploy", "{user}"))
NO_ROOT = Rule(name="no-root", effect="deny", groups=("*",), logins=("root",))


def allow(**settings: object) -> Rule:
    return Rule.model_validate({"name": "r", "groups": ["*"], "targets": ["*"], "logins": ["*"], **settings})


def test_a_rule_that_matches_allows() -> None:
    decision = decide([DEVELOPERS], ALICE, WEB, "deploy", "shell")
    assert (decision.allowed, decision.rule) == (True, "dev")
    assert decision.reason == "you may open a shell on web-1 as deploy"


def test_the_placeholder_allows_the_own_name_and_nobody_elses() -> None:
    assert decide([DEVELOPERS], ALICE, WEB, "alice", "shell").allowed
    assert not decide([DEVELOPERS], ALICE, WEB, "bob", "shell").allowed


def test_a_deny_outweighs_every_allow_before_and_after_it() -> None:
    for rules in ([allow(), NO_ROOT], [NO_ROOT, allow()], [allow(), NO_ROOT, allow(name="again")]):
        decision = decide(rules, ALICE, WEB, "root", "shell")
        assert (decision.allowed, decision.rule) == (False, "no-root")


def test_no_rules_allow_nothing() -> None:
    assert not decide([], ALICE, WEB, "alice", "shell").allowed
    assert not may_reach([], ALICE, WEB)


def test_groups_and_users_are_alternatives() -> None:
    rule = allow(groups=["ops"], users=["ali*"])
    assert decide([rule], ALICE, WEB, "a", "shell").allowed
    assert decide([rule], Subject(user="bob", groups=("ops",)), WEB, "a", "shell").allowed
    assert not decide([rule], Subject(user="bob", groups=("developers",)), WEB, "a", "shell").allowed


def test_a_star_among_the_groups_is_everybody_also_in_no_group() -> None:
    assert decide([allow(groups=["*"])], Subject(user="x"), WEB, "a", "shell").allowed
    assert not decide([allow(groups=["?*"])], Subject(user="x"), WEB, "a", "shell").allowed


def test_every_label_must_match_and_the_name_too() -> None:
    assert decide([allow(labels={"env": "stag*", "role": "web"})], ALICE, WEB, "a", "shell").allowed
    assert not decide([allow(labels={"env": "staging", "role": "db"})], ALICE, WEB, "a", "shell").allowed
    assert not decide([allow(labels={"region": "*"})], ALICE, WEB, "a", "shell").allowed
    assert not decide([allow(labels={"env": "staging"}, targets=["db-*"])], ALICE, WEB, "a", "shell").allowed


def test_lists_written_empty_match_nothing() -> None:
    for setting in ("groups", "targets", "logins", "actions"):
        assert not decide([allow(**{setting: []})], ALICE, WEB, "a", "shell").allowed


def test_an_action_needs_a_rule_of_its_own() -> None:
    assert not decide([DEVELOPERS], ALICE, WEB, "deploy", "sftp").allowed
    assert decide([allow(actions=["sftp"])], ALICE, WEB, "deploy", "sftp").allowed


@pytest.mark.parametrize("login", ["", "-oProxyCommand=x", "a b", "root\n", "\x1b[2J", "x" * 65])
def test_any_login_does_not_mean_any_text(login: str) -> None:
    decision = decide([allow()], ALICE, WEB, login, "shell")
    assert not decision.allowed
    assert decision.reason.isprintable()


def test_a_refusal_names_what_the_person_may_do_instead() -> None:
    decision = decide([DEVELOPERS, allow(logins=["root"]), NO_ROOT], ALICE, WEB, "root", "shell")
    assert decision.reason == "no rule lets you open a shell on web-1 as root; you may as deploy, alice"
    assert decision.detail == "rule 'no-root' denies it"


def test_a_target_out_of_reach_and_one_that_is_not_there_sound_the_same() -> None:
    hidden = decide([DEVELOPERS, NO_ROOT], Subject(user="eve"), WEB, "root", "shell")
    assert hidden.reason == no_such_target("web-1").reason == "there is no target web-1 that you may reach"
    assert hidden.rule == "no-root"


def test_an_impossible_login_does_not_betray_a_hidden_target() -> None:
    assert decide([], ALICE, WEB, "a b", "shell").reason == no_such_target("web-1").reason


def test_a_name_that_was_typed_cannot_steer_the_terminal() -> None:
    assert no_such_target("\x1b[2J\n").reason == r"there is no target \x1b[2J\n that you may reach"


def test_logins_come_in_the_order_of_the_rules_and_once() -> None:
    rules = [DEVELOPERS, allow(logins=["root", "deploy", "app"]), NO_ROOT]
    assert logins(rules, ALICE, WEB) == ["deploy", "alice", "app"]


def test_wildcard_logins_are_listed_only_when_there_is_nothing_concrete() -> None:
    assert logins([allow(logins=["app-*", "deploy"])], ALICE, WEB) == ["deploy"]
    assert logins([allow(logins=["app-*"])], ALICE, WEB) == ["app-*"]


def test_logins_can_be_asked_for_some_actions() -> None:
    rules = [allow(logins=["a"], actions=["shell"]), allow(logins=["b"], actions=["sftp"])]
    assert logins(rules, ALICE, WEB, ["sftp"]) == ["b"]
    assert logins(rules, ALICE, WEB, []) == []


def test_a_target_is_out_of_reach_when_the_denies_leave_no_login() -> None:
    rules = [allow(logins=["adm-*"]), Rule(name="d", effect="deny", groups=("*",), logins=("adm*",))]
    assert not may_reach(rules, ALICE, WEB)
    assert logins(rules, ALICE, WEB) == []


def test_a_target_is_in_reach_when_one_action_survives() -> None:
    rules = [
        allow(actions=["shell", "exec"]),
        Rule(name="d", effect="deny", groups=("*",), actions=("shell",)),
    ]
    assert may_reach(rules, ALICE, WEB)


def test_everybody_may_see_their_own_sessions() -> None:
    assert may_audit([], ALICE, owner="alice", target="web-1").allowed
    assert not may_audit([], ALICE, owner="bob", target="web-1").allowed


def test_sessions_without_an_owner_belong_to_nobody() -> None:
    assert not may_audit([], Subject(user=""), owner="", target="web-1").allowed


def test_auditors_see_the_targets_they_are_named_for() -> None:
    auditors = [AuditorRule(groups=("audit",), targets=("web-*",))]
    carol = Subject(user="carol", groups=("audit",))
    decision = may_audit(auditors, carol, owner="bob", target="web-1")
    assert (decision.allowed, decision.rule) == (True, "auditors[0]")
    assert not may_audit(auditors, carol, owner="bob", target="db-1").allowed
    assert not may_audit(auditors, ALICE, owner="bob", target="web-1").allowed
