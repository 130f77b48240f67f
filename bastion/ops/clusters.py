"""What ops ask about clusters: does the cluster let the bastion in and speak for people, and what must stand there.

The bastion needs one right, to impersonate, and that as narrowly as the cluster can say it: the groups of people by
their names, the one extra that carries the session. What people may do the cluster gives to them, not to the bastion.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from bastion.config.targets import KubernetesTarget
from bastion.connectors.kubernetes.cluster import Cluster, open_cluster
from bastion.connectors.kubernetes.impersonation import SESSION_EXTRA, Impersonated
from bastion.connectors.kubernetes.kubeconfig import access_to
from bastion.connectors.kubernetes.refusals import ClusterRefused
from bastion.connectors.kubernetes.reviews import may
from bastion.errors import ConfigError, TargetError
from bastion.sessions.admission import facts_of
from bastion.sessions.pods import DEFAULT_NAMESPACE
from policy.match import names_target
from policy.patterns import any_matches, is_concrete
from policy.rules import Rule

_OVER_ALL = "system:masters"
"""The group to which RBAC does not apply."""

_SESSION = "target-check"
"""What the cluster's audit log has for the id of the session."""

CHECK_LOGIN = "bastion-target-check"
"""Who is impersonated where rules name people by their own names alone."""

_WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_AUTHENTICATION = "authentication.k8s.io"
_RBAC = "rbac.authorization.k8s.io"
MANIFEST_HINT = "Apply what this prints: bastion target manifest {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccount:
    """What was found out, line by line, and what is wrong, if something is."""

    notes: tuple[str, ...]
    problem: str = ""
    hint: str = ""


async def examine(target: KubernetesTarget, login: str, groups: Sequence[str] = ()) -> ClusterAccount:
    """Ask *target* who the bastion is there, and whether it may speak for *login*, and for each of *groups*."""
    notes: list[str] = []
    try:
        access_to(target)
        async with open_cluster(target, None) as cluster:
            await _own_rights(cluster, target, login, groups, notes)
        told: list[tuple[str, ...]] = [(group,) for group in groups]
        for some in told or [()]:
            who = Impersonated(user=login, groups=some, session=_SESSION)
            async with open_cluster(target, who) as theirs:
                await _their_rights(theirs, target, f"{login} in {some[0]}" if some else login, notes)
    except ConfigError as error:
        return ClusterAccount(notes=tuple(notes), problem=error.message, hint=error.hint)
    except ClusterRefused as error:
        hint = (
            MANIFEST_HINT.format(name=target.name) if error.status == 403 else _credential_hint(target, error)
        )
        return ClusterAccount(notes=tuple(notes), problem=error.message, hint=hint)
    except TargetError as error:
        return ClusterAccount(notes=tuple(notes), problem=error.message, hint=error.hint)
    return ClusterAccount(notes=tuple(notes))


async def _own_rights(
    cluster: Cluster, target: KubernetesTarget, login: str, groups: Sequence[str], notes: list[str]
) -> None:
    version = (await cluster.get("/version")).get("gitVersion", "of no version")
    notes.append(f"Kubernetes {version}")
    notes.append(f"the bastion is {await _own_name(cluster)} there")
    wanted = {"users": ("", login), f"userextras/{SESSION_EXTRA}": (_AUTHENTICATION, _SESSION)}
    lacking = [
        resource
        for resource, (group, name) in wanted.items()
        if not await may(cluster, "impersonate", resource, group=group, name=name)
    ]
    lacking += [
        f"the group {group}"
        for group in groups
        if not await may(cluster, "impersonate", "groups", name=group)
    ]
    if lacking:
        raise ClusterRefused(
            f"the bastion may not impersonate {', '.join(lacking)} on {target.name}",
            status=403,
            reason="Forbidden",
        )
    notes.append(f"it may speak for {login}" + (f", and for {', '.join(groups)}" if groups else ""))
    if await may(cluster, "impersonate", "groups", name=_OVER_ALL):
        notes.append(
            f"WARNING: it may impersonate every group, {_OVER_ALL} too; narrow it: bastion target manifest"
        )


async def _their_rights(cluster: Cluster, target: KubernetesTarget, who: str, notes: list[str]) -> None:
    namespace = target.namespace or DEFAULT_NAMESPACE
    # `get` is asked of WebSockets before Kubernetes 1.35, `create` since.
    verbs = [verb for verb in ("get", "create") if await may(cluster, verb, "pods/exec", namespace=namespace)]
    can = f"may open shells in {namespace}" if len(verbs) == 2 else f"may not open shells in {namespace}"
    if len(verbs) == 1:
        can += f": of pods/exec RBAC grants {verbs[0]} and should grant get and create"
    notes.append(f"{who} {can}")


async def _own_name(cluster: Cluster) -> str:
    try:
        answer = await cluster.create(
            _WHO, {"apiVersion": f"{_AUTHENTICATION}/v1", "kind": "SelfSubjectReview"}
        )
    except ClusterRefused as error:
        if error.status in (403, 404):  # before Kubernetes 1.28
            return "somebody (this cluster does not say who)"
        raise
    match answer:
        case {"status": {"userInfo": {"username": str(name)}}}:
            return name
    return "somebody"


def _credential_hint(target: KubernetesTarget, error: ClusterRefused) -> str:
    where = (
        f"Look at users in {target.kubeconfig}."
        if target.kubeconfig
        else "Look at the pod's service account."
    )
    return f"The cluster does not know the credential. {where}" if error.status == 401 else ""


def groups_for(target: KubernetesTarget, rules: Sequence[Rule]) -> tuple[list[str], list[str]]:
    """The groups that rules let onto *target* and the cluster is told of: by name, and those that are patterns."""
    named = [
        group
        for rule in rules
        if rule.effect == "allow" and names_target(rule, facts_of(target))
        for group in rule.groups
    ]
    found = list(dict.fromkeys(named))
    patterns = [group for group in found if not is_concrete(group)]
    return [g for g in found if is_concrete(g) and any_matches(target.impersonate_groups, g)], patterns


def manifest(
    target: KubernetesTarget,
    rules: Sequence[Rule],
    *,
    user: str = "",
    service_account: str = "",
    groups: Sequence[str] = (),
    people: Sequence[str] = (),
) -> str:
    """What to apply to the cluster for the bastion, which is *user* or *service_account* (NAMESPACE/NAME) there.

    *groups* are impersonated beside those that the rules name; with *people*, no users but these.
    """
    concrete, patterns = groups_for(target, rules)
    named = list(dict.fromkeys([*concrete, *groups]))
    namespace, _, account = service_account.partition("/")
    subject: dict[str, str] = (
        {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        if service_account
        else {"kind": "User", "name": user or "bastion", "apiGroup": _RBAC}
    )
    documents = [
        _role("bastion-impersonator", _impersonation(named, people)),
        {
            **_head("ClusterRoleBinding", "bastion-impersonator"),
            "subjects": [subject],
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": "bastion-impersonator"},
        },
        _role("bastion-shell", _SHELL_RIGHTS),
    ]
    body = "---\n".join(yaml.safe_dump(document, sort_keys=False) for document in documents)
    return "".join(f"# {line}\n" for line in _comments(target, named, patterns, people)) + body


_SHELL_RIGHTS: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods/exec", "pods/attach"], "verbs": ["get", "create"]},
]


def _impersonation(groups: Sequence[str], people: Sequence[str]) -> list[dict[str, Any]]:
    users: dict[str, Any] = {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}
    rules = [users | ({"resourceNames": list(people)} if people else {})]
    if groups:  # without names it would be every group
        rules.append(users | {"resources": ["groups"], "resourceNames": list(groups)})
    extra = {
        "apiGroups": [_AUTHENTICATION],
        "resources": [f"userextras/{SESSION_EXTRA}"],
        "verbs": ["impersonate"],
    }
    return [*rules, extra]


def _comments(
    target: KubernetesTarget, groups: Sequence[str], patterns: Sequence[str], people: Sequence[str]
) -> Iterator[str]:
    yield f"What the cluster {target.name} must grant the bastion: to speak for people, in the groups named here."
    if not people:
        yield "It may speak for every user; name them with --person where no others shall be."
    if groups:
        listed = json.dumps(list(groups))
        yield f"Tell it of no others, or it refuses who is in them: impersonate_groups = {listed}"
    if patterns:
        yield f"Rules name groups by patterns ({', '.join(patterns)}); RBAC cannot: name each with --group."
    if not groups:
        yield "No rule names a group, so none is impersonated: bind roles to people, or name groups with --group."
    yield "bastion-shell is for people. Give it to them where they work, for instance:"
    namespace, group = target.namespace or DEFAULT_NAMESPACE, groups[0] if groups else "GROUP"
    yield f"  kubectl -n {namespace} create rolebinding bastion-shell --clusterrole bastion-shell --group {group}"


def _role(name: str, rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {**_head("ClusterRole", name), "rules": list(rules)}


def _head(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": {"name": name}}
