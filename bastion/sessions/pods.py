"""What is named inside a cluster: `namespace/pod:container`, or less of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from bastion.config.targets import KubernetesTarget, Target
from bastion.errors import SessionRefused
from bastion.transport.request import SessionRequest
from policy.decide import quoted
from policy.kubernetes import Pod

DEFAULT_NAMESPACE = "default"

# RFC 1123 labels and subdomains, as Kubernetes names objects.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodName:
    """A container of a pod; without *container* the one that kubectl would take."""

    namespace: str
    pod: str
    container: str = ""

    @classmethod
    def read(cls, target: KubernetesTarget, path: str) -> Self:
        """The pod that *path* names on *target*. Raises SessionRefused, with how to write it."""
        place, _, container = path.partition(":")
        namespace, slash, pod = place.rpartition("/")
        if not slash:
            namespace = target.namespace or DEFAULT_NAMESPACE
        if not pod:
            raise SessionRefused(
                f"name a pod of {target.name}",
                hint=f"As in: ssh -t BASTION {target.name}/{namespace or DEFAULT_NAMESPACE}/POD",
            )
        if not (_LABEL.fullmatch(namespace) and _SUBDOMAIN.fullmatch(pod)) or not (
            _LABEL.fullmatch(container) if ":" in path else True
        ):
            raise SessionRefused(
                f"{quoted(path)} is no pod", hint=f"Write {target.name}/NAMESPACE/POD or …/POD:CONTAINER."
            )
        return cls(namespace=namespace, pod=pod, container=container)

    @property
    def facts(self) -> Pod:
        """The pod as the policy sees it."""
        return Pod(self.namespace, self.pod)

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.pod}"
        return f"{where}:{self.container}" if self.container else where


def pod_of(target: Target, request: SessionRequest, path: str) -> PodName | None:
    """The pod that *request* is for, None where it is for none. Raises SessionRefused when none is named."""
    if not isinstance(target, KubernetesTarget) or request.kind == "connection":
        return None
    return PodName.read(target, path)


def is_to_choose(request: SessionRequest, path: str) -> bool:
    """Whether *path* names no pod yet for a shell on a terminal, where one can be chosen from a list."""
    return request.kind == "shell" and request.pty is not None and (not path or path.endswith("/"))
