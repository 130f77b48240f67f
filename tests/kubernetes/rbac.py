"""Role-based access control as a Kubernetes API server has it (rbac.authorization.k8s.io/v1), for the double."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who asks, as a server knows them; *extra* are headers Impersonate-Extra-…, by name."""

    name: str
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Rules of a role for a user or a group, in one namespace or (None) in all."""

    subject: str
    rules: tuple[dict[str, Any], ...]
    namespace: str | None = None


def rule(verbs: str, resources: str, *, groups: str = "", names: Sequence[str] = ()) -> dict[str, Any]:
    """A rule of a role; *verbs* and *resources* are words with spaces between."""
    written: dict[str, Any] = {
        "apiGroups": groups.split(",") if groups else [""],
        "resources": resources.split(),
        "verbs": verbs.split(),
    }
    return written | ({"resourceNames": list(names)} if names else {})


class Rbac:
    """The grants of a cluster."""

    def __init__(self, grants: Iterable[Grant] = ()) -> None:
        self.grants = list(grants)

    def allows(
        self, user: User, verb: str, resource: str, *, group: str = "", namespace: str = "", name: str = ""
    ) -> bool:
        """Whether *user* may; *resource* has its subresource behind a slash."""
        subjects = {user.name, *user.groups}
        return any(
            grant.subject in subjects
            and grant.namespace in (None, namespace)
            and any(_fits(each, verb, resource, group, name) for each in grant.rules)
            for grant in self.grants
        )

    def apply(self, manifest: str) -> None:
        """Take up the roles and bindings of *manifest*, as `kubectl apply` of it would."""
        documents = [each for each in yaml.safe_load_all(manifest) if each]
        roles = {
            (each["kind"], each["metadata"]["name"]): each["rules"]
            for each in documents
            if each["kind"] in ("ClusterRole", "Role")
        }
        for each in documents:
            if each["kind"] in ("ClusterRoleBinding", "RoleBinding"):
                rules = roles[(each["roleRef"]["kind"], each["roleRef"]["name"])]
                namespace = each["metadata"].get("namespace")
                self.grants += [
                    Grant(subject=_subject(subject), rules=tuple(rules), namespace=namespace)
                    for subject in each["subjects"]
                ]


def _subject(subject: dict[str, str]) -> str:
    if subject["kind"] == "ServiceAccount":
        return f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
    return subject["name"]


def _fits(written: dict[str, Any], verb: str, resource: str, group: str, name: str) -> bool:
    names = written.get("resourceNames")
    return (
        bool({verb, "*"} & set(written["verbs"]))
        and bool({group, "*"} & set(written.get("apiGroups", [])))
        and bool({resource, "*"} & set(written.get("resources", [])))
        and (not names or name in names)
    )
