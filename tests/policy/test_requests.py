"""Requests to a cluster's API: which of them rules allow, and what a refusal says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from policy.decide import decide
from policy.kubernetes import KubernetesTerms, Pod
from policy.match import Subject, TargetFacts
from policy.requests import SENSITIVE, ApiCall, decide_call
from policy.rules import Rule

ALICE = Subject(user="alice", groups=("sre",))
CLUSTER = TargetFacts(name="prod-k8s", kind="kubernetes")


def rule(effect: str = "allow", **terms: Any) -> Rule:
    given: dict[str, Any] = {"name": effect, "effect": effect, "groups": ["sre"]}
    if effect == "allow":
        given |= {"targets": ["*"], "logins": ["{user}"]}
    return Rule.model_validate(given | ({"kubernetes": terms} if terms else {}))


def call(text: str) -> ApiCall:
    """`verb resource[.group] [namespace]`, or a path in the place of the resource."""
    verb, what, *namespace = text.split()
    if what.startswith("/"):
        return ApiCall(verb=verb, path=what)
    resource, _, group = what.partition(".")
    return ApiCall(verb=verb, resource=resource, group=group, namespace=namespace[0] if namespace else "")


def may(rules: list[Rule], text: str) -> bool:
    return decide_call(rules, ALICE, CLUSTER, "alice", call(text)).allowed


PLAIN = [rule()]
SHOP = [rule(namespaces=["shop"])]
ALL = [rule(verbs=["*"], resources=["*"])]
SECRETS = [rule(verbs=["*"], resources=["*", "secrets"])]
SCALE = [rule(verbs=["patch"], resources=["deployments/scale.apps"])]


@pytest.mark.parametrize(
    ("rules", "text", "allowed"),
    [
        (PLAIN, "list pods shop", True), (PLAIN, "watch pods", True), (PLAIN, "get pods/log shop", True),
        (PLAIN, "create pods shop", False), (PLAIN, "delete pods shop", False), (PLAIN, "get secrets shop", False),
        (PLAIN, "get /version", True), (PLAIN, "get /openapi/v3/apis/apps/v1", True), (PLAIN, "get /metrics", False),
        (PLAIN, "post /api/v1", False), (PLAIN, "get /apisix", False),
        (PLAIN, "create selfsubjectaccessreviews.authorization.k8s.io", True), (PLAIN, "create pods/exec shop", True),
        (PLAIN, "create pods/attach shop", False), (PLAIN, "create pods/portforward shop", False),
        (SHOP, "list pods shop", True), (SHOP, "list pods kube-system", False), (SHOP, "list pods", False),
        (SHOP, "get nodes", False), (SHOP, "get namespaces shop", True), (SHOP, "create pods/exec other", False),
        (ALL, "deletecollection pods shop", True), (ALL, "get secrets shop", False), (ALL, "get /metrics", False),
        (ALL, "patch pods/ephemeralcontainers shop", False), (ALL, "create serviceaccounts/token shop", False),
        (SECRETS, "get secrets shop", True), (SECRETS, "get pods/proxy shop", False),
        (SCALE, "patch deployments/scale.apps shop", True), (SCALE, "patch deployments.apps shop", False),
        ([rule(resources=["deployments"])], "get deployments.apps shop", True),
        ([rule(resources=["/metrics"])], "get /metrics", True),
        ([rule(resources=["s*"])], "get secrets shop", False),
        ([], "get /version", False),
    ],
)  # fmt: skip
def test_an_allow_rule_allows_what_it_says_reading_by_default_and_nothing_sensitive_unnamed(
    rules: list[Rule], text: str, allowed: bool
) -> None:
    assert may(rules, text) is allowed


@pytest.mark.parametrize(
    ("terms", "text", "allowed"),
    [
        ({"namespaces": ["kube-*"]}, "get pods kube-system", False),
        ({"namespaces": ["kube-*"]}, "get pods shop", True),
        ({"namespaces": ["kube-*"]}, "list pods", False),  # it would be among them
        ({"namespaces": ["kube-*"]}, "list nodes", True),
        ({"namespaces": ["kube-*"]}, "create pods/exec kube-system", False),
        ({"verbs": ["delete", "deletecollection"]}, "delete pods shop", False),
        ({"verbs": ["delete", "deletecollection"]}, "get pods shop", True),
        ({"resources": ["secrets"]}, "get secrets shop", False),
        ({"resources": ["*s"]}, "get secrets shop", False),
        ({"pods": ["db-*"]}, "get pods shop", True),  # of shells
        ({}, "get /version", False),
    ],
)
def test_a_deny_rule_outweighs_what_is_allowed(terms: dict[str, Any], text: str, allowed: bool) -> None:
    assert may([*SECRETS, rule("deny", **terms)], text) is allowed


def test_a_deny_of_requests_leaves_shells_alone() -> None:
    rules = [*ALL, rule("deny", verbs=["delete"])]
    for action in ("shell", "connect"):
        assert decide(rules, ALICE, CLUSTER, "alice", action, Pod("shop", "api-1")).allowed


@pytest.mark.parametrize("resource", sorted(SENSITIVE))
def test_what_is_sensitive_is_allowed_by_its_name(resource: str) -> None:
    for verb in ("get", "create", "patch"):
        assert not may(ALL, f"{verb} {resource} shop")
        assert may([rule(verbs=["*"], resources=[resource])], f"{verb} {resource} shop")


def test_ways_into_pods_are_for_the_pods_that_a_rule_names() -> None:
    rules = [rule(verbs=["*"], resources=["pods/portforward", "pods"], pods=["api-*"])]
    for name, allowed in [("api-1", True), ("db-0", False)]:
        forward = ApiCall(verb="create", resource="pods/portforward", namespace="shop", name=name)
        assert decide_call(rules, ALICE, CLUSTER, "alice", forward).allowed is allowed
        assert decide_call(rules, ALICE, CLUSTER, "alice", replace(forward, resource="pods")).allowed


def test_a_refusal_says_what_is_allowed_instead() -> None:
    decision = decide_call(SHOP, ALICE, CLUSTER, "alice", call("delete pods shop"))
    assert decision.reason == "no rule lets you delete pods in shop; you may get, list, watch there"
    decision = decide_call(SHOP, ALICE, CLUSTER, "alice", call("get secrets shop"))
    assert decision.reason == "no rule lets you get secrets in shop"


def test_rules_for_others_say_nothing() -> None:
    others = Rule(name="x", groups=("dev",), targets=("*",), logins=("*",))
    assert not may([others], "get pods shop")
    no_connect = Rule(name="x", groups=("sre",), targets=("*",), logins=("*",), actions=("shell",))
    assert not may([no_connect], "get pods shop")


def test_a_verb_that_is_none_is_an_error() -> None:
    with pytest.raises(ValidationError, match="there are get, list, watch"):
        KubernetesTerms.model_validate({"verbs": ["read"]})
