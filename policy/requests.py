"""Single requests to a cluster's API, as a person's own kubectl makes them: which of them rules allow.

Rules that let somebody `connect` to a cluster say by `[policy.rules.kubernetes]` which verbs on which resources of
which namespaces. One deny outweighs every allow, as everywhere. An allow rule that says nothing of it allows reading,
and what is sensitive is allowed only where a rule names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from policy.decide import Decision
from policy.kubernetes import READING, VERBS, KubernetesTerms
from policy.match import Subject, TargetFacts, mismatches
from policy.patterns import any_matches, is_concrete
from policy.rules import Rule

SENSITIVE = frozenset({
    "nodes/proxy", "pods/attach", "pods/ephemeralcontainers", "pods/portforward", "pods/proxy", "secrets",
    "serviceaccounts/token", "services/proxy",
})  # fmt: skip
"""What a wildcard does not mean: credentials, and ways past the API into pods, nodes and services."""

EXEC = "pods/exec"
"""Granted by the actions shell and exec, like any other way to run something; a deny rule may name it all the same."""

_INTO_PODS = frozenset({"pods/attach", "pods/ephemeralcontainers", "pods/portforward", "pods/proxy"})
_OPEN_PATHS = ("/api", "/apis", "/healthz", "/livez", "/openapi", "/readyz", "/version")
"""What clients must read to know how to ask at all."""
_ABOUT_ONESELF = frozenset({"selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews"})
_OF_MANY = ("list", "watch", "deletecollection")
_IN_NO_NAMESPACE = frozenset({
    "certificatesigningrequests", "clusterrolebindings", "clusterroles", "componentstatuses",
    "customresourcedefinitions", "ingressclasses", "namespaces", "nodes", "persistentvolumes", "priorityclasses",
    "runtimeclasses", "storageclasses", "volumeattachments",
})  # fmt: skip
"""What is not asked of all namespaces when no namespace is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """A request: *resource* with its subresource (`pods/log`), or for what is none its *path*.

    *namespace* is empty for what is in none, and for what is asked of all of them.
    """

    verb: str
    resource: str = ""
    group: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource or self.path}{where}"


def decide_call(
    rules: Sequence[Rule], subject: Subject, target: TargetFacts, login: str, call: ApiCall
) -> Decision:
    """Whether *subject*, connected to *target* as *login*, may make *call*."""
    here = [rule for rule in rules if _is_about(rule, subject, target, login)]
    for rule in here:
        if rule.effect == "deny" and _denies(rule.kubernetes, call):
            return _no(here, call, rule.name, f"rule {rule.name!r} denies it")
    granting = tuple(rule for rule in here if rule.effect == "allow" and _allows(rule.kubernetes, call))
    if not granting:
        return _no(here, call, None, "no allow rule matches")
    name = granting[0].name
    return Decision(
        allowed=True,
        reason=f"you may {call}",
        rule=name,
        detail=f"rule {name!r} allows it",
        granting=granting,
    )


def _is_about(rule: Rule, subject: Subject, target: TargetFacts, login: str) -> bool:
    """Whether *rule* is for this connection, whatever it says of single requests."""
    return all(found.aspect == "pod" for found in mismatches(rule, subject, target, login, "connect"))


def _allows(terms: KubernetesTerms | None, call: ApiCall) -> bool:
    terms = terms or KubernetesTerms()
    if call.verb in ("get", "head") and any(
        call.path == path or call.path.startswith(f"{path}/") for path in _OPEN_PATHS
    ):
        return True
    if call.verb == "create" and call.resource in _ABOUT_ONESELF:
        return True
    if call.resource == EXEC:
        return _covers_place(terms, call)
    if call.resource in _INTO_PODS and not any_matches(terms.pods, call.name):
        return False
    resources = terms.resources or ("*",)
    if call.resource in SENSITIVE or not call.resource:
        resources = tuple(pattern for pattern in resources if is_concrete(pattern))
    return (
        any_matches(terms.verbs or READING, call.verb)
        and _names(resources, call)
        and _covers_place(terms, call)
    )


def _denies(terms: KubernetesTerms | None, call: ApiCall) -> bool:
    if terms is None:
        return True
    if terms.pods != ("*",):  # of pods to work in, and so of no request
        return False
    return (
        any_matches(terms.verbs or ("*",), call.verb)
        and _names(terms.resources or ("*",), call)
        and _touches_place(terms, call)
    )


def _covers_place(terms: KubernetesTerms, call: ApiCall) -> bool:
    if not call.namespace:  # all of them, or what is above them
        return "*" in terms.namespaces
    return any_matches(terms.namespaces, call.namespace)


def _touches_place(terms: KubernetesTerms, call: ApiCall) -> bool:
    """Whether *call* is for one of the namespaces, or for all of them at once."""
    if "*" in terms.namespaces or any_matches(terms.namespaces, call.namespace):
        return True
    return not call.namespace and call.verb in _OF_MANY and call.resource not in _IN_NO_NAMESPACE


def _names(resources: Sequence[str], call: ApiCall) -> bool:
    name = call.resource or call.path
    return any_matches(resources, name) or bool(call.group and any_matches(resources, f"{name}.{call.group}"))


def _no(here: Sequence[Rule], call: ApiCall, rule: str | None, detail: str) -> Decision:
    """The refusal, with what is allowed instead of the same resource."""
    others = [verb for verb in VERBS if verb != call.verb and _is_open(here, replace(call, verb=verb))]
    instead = f"; you may {', '.join(others)} there" if others else ""
    return Decision(allowed=False, reason=f"no rule lets you {call}{instead}", rule=rule, detail=detail)


def _is_open(here: Sequence[Rule], call: ApiCall) -> bool:
    effects = [
        rule.effect for rule in here if (_denies if rule.effect == "deny" else _allows)(rule.kubernetes, call)
    ]
    return bool(effects) and "deny" not in effects
