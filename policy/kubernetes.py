"""What a rule says about a Kubernetes cluster: which namespaces and pods it is for.

In an allow rule these narrow what it allows; a deny rule with them denies these and nothing else. The cluster's own
RBAC decides as well, and has the last word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from policy.patterns import any_matches

_Patterns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
"""What can be asked of resources."""
READING = ("get", "list", "watch")
"""What an allow rule lets kubectl do when it does not say."""


def _verbs(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for verb in value or ():
        if verb != "*" and verb not in VERBS:
            raise ValueError(f"'{verb}' is none; there are {', '.join(VERBS)}, and \"*\" for all of them")
    return value


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that somebody wants to work in; without a *name* it is some pod of the namespace."""

    namespace: str
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.name is not None else f"the namespace {self.namespace}"


class KubernetesTerms(BaseModel):
    """Namespaces and pods that a rule is for. A rule without it says nothing of them, and so is for all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespaces: _Patterns = Field(
        ("*",), description="Namespaces it is for, with wildcards.", examples=[["shop", "team-*"]]
    )
    pods: _Patterns = Field(
        ("*",), description="Pods that shells and commands may run in, with wildcards.", examples=[["api-*"]]
    )

    verbs: Annotated[_Patterns | None, AfterValidator(_verbs)] = Field(
        None,
        description="What kubectl may do, over connect: the verbs of Kubernetes. Left out, an allow rule is for get,"
        " list and watch, a deny rule for all.",
        examples=[["get", "list", "watch"]],
    )
    resources: _Patterns | None = Field(
        None,
        description="With what, with wildcards: pods, pods/log, deployments.apps. Secrets, tokens of service accounts,"
        " attach, port-forward, proxies and ephemeral containers an allow rule must name one by one.",
        examples=[["pods", "pods/log", "deployments.apps"]],
    )

    @property
    def is_of_requests(self) -> bool:
        """Whether it speaks of what kubectl asks, and not of pods to work in."""
        return self.verbs is not None or self.resources is not None

    def covers(self, pod: Pod) -> bool:
        """Whether *pod* is one of these; of some pod, whether one of its namespace can be."""
        return any_matches(self.namespaces, pod.namespace) and (
            pod.name is None or any_matches(self.pods, pod.name)
        )

    def covers_all(self, pod: Pod) -> bool:
        """Whether *pod* is one of these; of some pod, whether all of its namespace are."""
        return self.covers(pod) and (pod.name is not None or "*" in self.pods)
