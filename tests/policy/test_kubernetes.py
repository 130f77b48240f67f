"""What rules say of namespaces and pods."""

from __future__ import annotations

from policy.decide import Subject, TargetFacts, decide, may_reach, pods_open
from policy.kubernetes import Pod
from policy.rules import Rule

ALICE = Subject(user="alice", groups=("dev",))
PROD = TargetFacts(name="prod-k8s", kind="kubernetes")
WEB = TargetFacts(name="web-1", kind="ssh")


def rule(**settings: object) -> Rule:
    base = {"name": "r", "groups": ["dev"], "targets": ["*"], "logins": ["*"]}
    return Rule.model_validate(base | settings)


def allowed(rules: list[Rule], pod: Pod | None, target: TargetFacts = PROD) -> bool:
    return decide(rules, ALICE, target, "alice", "shell", pod).allowed


def test_an_allow_rule_is_for_the_namespaces_and_pods_it_names() -> None:
    rules = [rule(kubernetes={"namespaces": ["shop", "team-*"], "pods": ["api-*"]})]
    assert allowed(rules, Pod("shop", "api-7d9"))
    assert allowed(rules, Pod("team-a", "api-1"))
    assert not allowed(rules, Pod("shop", "db-0"))
    assert not allowed(rules, Pod("kube-system", "api-1"))
    assert allowed(rules, Pod("shop"))
    assert not allowed(rules, Pod("kube-system"))
    assert allowed(rules, None)


def test_a_refusal_says_where_it_is_open() -> None:
    rules = [rule(kubernetes={"namespaces": ["shop", "team-*"], "pods": ["api-*"]})]
    refused = decide(rules, ALICE, PROD, "alice", "shell", Pod("kube-system", "dns-0"))
    assert refused.reason == (
        "no rule lets you open a shell in kube-system/dns-0 on prod-k8s as alice; "
        "you may in the namespaces shop, team-* (pods api-*)"
    )


def test_a_deny_rule_with_terms_denies_these_and_nothing_else() -> None:
    rules = [rule(), rule(name="d", effect="deny", kubernetes={"namespaces": ["kube-*"]})]
    assert allowed(rules, Pod("shop", "api-7d9"))
    assert not allowed(rules, Pod("kube-system", "dns-0"))
    assert not allowed(rules, Pod("kube-system"))
    assert allowed(rules, None)
    assert allowed(rules, None, WEB), "it is for clusters alone"
    assert may_reach(rules, ALICE, WEB)
    assert may_reach(rules, ALICE, PROD)


def test_a_namespace_is_closed_only_when_all_of_its_pods_are() -> None:
    rules = [rule(), rule(name="d", effect="deny", kubernetes={"pods": ["db-*"]})]
    assert allowed(rules, Pod("shop"))
    assert not allowed(rules, Pod("shop", "db-0"))
    assert allowed(rules, Pod("shop", "api-7d9"))


def test_what_is_asked_of_many_pods_is_what_is_decided_of_each() -> None:
    rules = [
        rule(kubernetes={"namespaces": ["shop"]}),
        rule(name="b", kubernetes={"namespaces": ["team-*"], "pods": ["api-*"]}),
        rule(name="c", effect="deny", kubernetes={"pods": ["*-db"]}),
        rule(name="d", effect="deny", kubernetes={"namespaces": ["team-b"]}),
        rule(name="e", groups=["others"]),
        rule(name="f", actions=["connect"]),
        rule(name="g", effect="deny", actions=["exec"]),
    ]
    pods = [
        Pod(namespace, name)
        for namespace in ("shop", "team-a", "team-b", "kube-system")
        for name in (None, "api-1", "api-db", "web")
    ]
    for action in ("shell", "exec"):
        is_open = pods_open(rules, ALICE, PROD, "alice", action)
        decided = {str(pod): decide(rules, ALICE, PROD, "alice", action, pod).allowed for pod in pods}
        assert {str(pod): is_open(pod) for pod in pods} == decided
        assert any(decided.values()) == (action == "shell")
