"""Which request asks for what, and which resources the double says it has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_RBAC = "rbac.authorization.k8s.io"
NAMES = {
    "pods": "Pod",
    "namespaces": "Namespace",
    "configmaps": "ConfigMap",
    "secrets": "Secret",
    "rolebindings": "RoleBinding",
}
"""Resources that are stored, and their kinds."""

_SHORT = {"pods": ["po"], "namespaces": ["ns"], "configmaps": ["cm"]}
_VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
_REVIEWS = {
    "authorization.k8s.io": ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    "authentication.k8s.io": ("selfsubjectreviews", "SelfSubjectReview"),
}
_OF_POD = {
    "pods/exec": ("PodExecOptions", ["create", "get"]),
    "pods/attach": ("PodAttachOptions", ["create", "get"]),
    "pods/log": ("Pod", ["get"]),
}


class NotUnderstood(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, as the audit log of a cluster would tell it."""

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Resource and subresource, as RBAC has them."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def __str__(self) -> str:
        return " ".join(filter(None, [self.verb, self.kind or self.path, self.namespace, self.name]))


def asked(method: str, path: str, query: Any) -> Asked:
    """What *method* on *path* asks for; *query* is aiohttp's, with all values of a key."""
    parts = path.strip("/").split("/")
    values = {key: query.getall(key)[0] for key in query}
    plain = Asked(verb=method.lower(), path=path, query=values)
    match parts:
        case ["api", "v1", *rest] if rest:
            group = ""
        case ["apis", group, _, *rest] if rest:
            pass
        case _:
            return plain
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        _, namespace, *rest = rest
    resource, name, subresource = (*rest, "", "")[:3]
    if resource == "namespaces":
        namespace = name
    return Asked(
        verb=_verb(method, name, values),
        path=path,
        group=group,
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
        query=values,
        commands=tuple(query.getall("command", [])),
    )


def _verb(method: str, name: str, query: Mapping[str, str]) -> str:
    if method in ("GET", "HEAD"):
        if query.get("watch") in ("1", "true"):
            return "watch"
        return "get" if name else "list"
    verbs = {
        "POST": "create",
        "PUT": "update",
        "PATCH": "patch",
        "DELETE": "delete" if name else "deletecollection",
    }
    if method not in verbs:
        raise NotUnderstood(f"there is no method {method}")
    return verbs[method]


def group_list() -> dict[str, Any]:
    """The answer to /apis."""
    groups = [
        {
            "name": name,
            "versions": [version := {"groupVersion": f"{name}/v1", "version": "v1"}],
            "preferredVersion": version,
        }
        for name in (*_REVIEWS, _RBAC)
    ]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def resource_list(group: str, version: str) -> dict[str, Any]:
    """The resources of one group and version."""
    if not group:
        resources = [
            _resource(name, kind, _VERBS, is_namespaced=name != "namespaces", short=_SHORT.get(name))
            for name, kind in NAMES.items()
            if name != "rolebindings"
        ]
        resources += [_resource(name, kind, verbs) for name, (kind, verbs) in _OF_POD.items()]
    elif group in _REVIEWS and version == "v1":
        resources = [_resource(*_REVIEWS[group], ["create"], is_namespaced=False)]
    elif group == _RBAC and version == "v1":
        resources = [_resource("rolebindings", NAMES["rolebindings"], _VERBS)]
    else:
        raise NotUnderstood("the server could not find the requested resource")
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def _resource(
    name: str, kind: str, verbs: list[str], *, is_namespaced: bool = True, short: list[str] | None = None
) -> dict[str, Any]:
    singular = kind.lower() if "/" not in name else ""
    entry = {
        "name": name,
        "singularName": singular,
        "namespaced": is_namespaced,
        "kind": kind,
        "verbs": verbs,
    }
    return entry | ({"shortNames": short} if short else {})


_PROTOBUF = b"k8s\0"
_ATTRIBUTES = {
    1: "namespace",
    2: "verb",
    3: "group",
    4: "version",
    5: "resource",
    6: "subresource",
    7: "name",
}


def review_of(body: bytes) -> dict[str, str]:
    """The resourceAttributes of a SelfSubjectAccessReview in JSON or, as `kubectl auth can-i` sends it, protobuf."""
    if not body.startswith(_PROTOBUF):
        return dict(json.loads(body)["spec"].get("resourceAttributes") or {})
    raw = dict(_fields(body[4:])).get(2, b"")  # runtime.Unknown.raw
    spec = dict(_fields(raw)).get(2, b"")
    attributes = dict(_fields(spec)).get(1, b"")
    return {
        _ATTRIBUTES[number]: value.decode() for number, value in _fields(attributes) if number in _ATTRIBUTES
    }


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message; others do not occur where we look."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = number()
        if tag & 7 == 2:
            length = number()
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            number()
