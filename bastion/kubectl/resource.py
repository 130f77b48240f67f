"""What a request to a Kubernetes API is about, told from method and target alone, exactly as the API server tells it.

The rules are those of RequestInfoFactory in k8s.io/apiserver: where we took a request for another one than the server
does, a decision would be about the wrong thing. So a target that two readers could take for two things is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from bastion.errors import BastionError
from policy.requests import ApiCall

_PATH = re.compile(r"/[A-Za-z0-9._~:@!$&'()*+,;=/-]*")
"""What stands in a path raw (RFC 3986, pchar). A percent sign is not among it: no name in Kubernetes needs one."""

_QUERY = re.compile(r"(?:[A-Za-z0-9._~:@!$&'()*+,=/?-]|%[0-9A-Fa-f]{2})*")
"""The same for what is behind it, escapes included; Go leaves out parameters with others, or with a semicolon."""

_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
STREAMS = ("pods/exec", "pods/attach")
"""What is asked for by a request and then is a connection of its own."""
_OF_NAMESPACES = ("status", "finalize")
"""Subresources of a namespace; anything else behind its name is a resource in it."""
_LONGEST_TARGET = 16 * 1024


class NotUnderstood(BastionError):
    """A target that is none, or that could mean two things."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request. Without a *resource* it is for a path that is none, such as /version or /api.

    *verb* is Kubernetes' (get, list, watch, create, update, patch, delete, deletecollection), for a path that is no
    resource the method in lower case. *target* is path and query as they came.
    """

    method: str
    target: str
    path: str
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def query(self) -> dict[str, list[str]]:
        """The parameters behind the path."""
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def call(self) -> ApiCall:
        """What rules decide about. Streams are opened with GET too, and read nothing: that is *create* here."""
        name = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        is_stream = name in (*STREAMS, "pods/portforward") and self.verb == "get"
        return ApiCall(
            verb="create" if is_stream else self.verb,
            resource=name,
            group=self.group,
            namespace=self.namespace,
            name=self.name,
            path="" if self.resource else self.path,
        )

    @property
    def kind(self) -> str:
        """Resource and subresource in a word, as in `pods/exec`; the path where it is no resource."""
        if not self.resource:
            return self.path
        name = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{name}.{self.group}" if self.group else name

    def __str__(self) -> str:
        """As people would say it: `get pods/log api-1 -n shop`."""
        words = [self.verb, self.kind]
        if self.name:
            words.append(self.name)
        if self.namespace and self.resource != "namespaces":
            words.append(f"-n {self.namespace}")
        return " ".join(words)


def understand(method: str, target: str) -> ApiRequest:
    """What *method* on *target* (origin form, RFC 9112 section 3.2.1) is about. Raises NotUnderstood."""
    if method not in _VERBS:
        raise NotUnderstood(f"the method {method} is not one of the Kubernetes API")
    if len(target) > _LONGEST_TARGET:
        raise NotUnderstood("the path of this request is too long")
    path, _, query = target.partition("?")
    if not _PATH.fullmatch(path):
        raise NotUnderstood("write the path of a request from its root, and without percent signs")
    if not _QUERY.fullmatch(query):
        raise NotUnderstood("the parameters of this request hold characters that do not belong there")
    segments = path.split("/")[1:]
    if segments[-1] == "":
        segments.pop()
    if any(segment in ("", ".", "..") for segment in segments):
        raise NotUnderstood("a path may have no empty part and no part that is a dot or two")
    return _understood(method, target, path, segments)


def _understood(method: str, target: str, path: str, parts: list[str]) -> ApiRequest:
    other = ApiRequest(method=method, target=target, path=path, verb=method.lower())
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return other
    prefix, *parts = parts
    group = ""
    if prefix == "apis":
        if len(parts) < 3:
            return other
        group, *parts = parts
    version, *parts = parts
    verb = _VERBS[method]
    if parts[0] == "proxy":
        raise NotUnderstood("this way of asking for a proxy is gone since Kubernetes 1.10")
    if parts[0] == "watch":  # in an old form, in front of what is watched
        verb, *parts = parts
        if not parts:
            raise NotUnderstood(f"this path says {verb} and not what")
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _OF_NAMESPACES:
            parts = parts[2:]
    resource, name, subresource = (*parts, "", "")[:3]
    request = ApiRequest(
        method=method,
        target=target,
        path=path,
        verb=verb,
        group=group,
        version=version,
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
    )
    return _of_many(request) if not name else request


def _of_many(request: ApiRequest) -> ApiRequest:
    """The verb of a request without a name, which is for many."""
    match request.verb:
        case "get":
            return replace(request, verb="watch" if _asks_to_watch(request) else "list")
        case "delete":
            return replace(request, verb="deletecollection")
        case _:
            return request


def _asks_to_watch(request: ApiRequest) -> bool:
    values = request.query.get("watch")
    return values is not None and values[0].lower() not in ("false", "0")
