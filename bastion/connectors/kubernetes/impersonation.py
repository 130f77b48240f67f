"""In whose name a cluster is asked: the headers by which the bastion speaks for a person (Impersonate-…)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from bastion.config.targets import KubernetesTarget
from bastion.identity.person import Person
from policy.patterns import any_matches

SESSION_EXTRA = "bastion-session"
"""The extra of an impersonated user under which a cluster's audit log has the id of the session."""

_OF_THE_CLUSTER = "system:"
"""How names begin that mean something to Kubernetes itself, such as system:masters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Impersonated:
    """In whose name a cluster is asked, and in which session."""

    user: str
    groups: tuple[str, ...] = ()
    session: str = ""

    @classmethod
    def of(cls, target: KubernetesTarget, person: Person, login: str, session: str = "") -> Self:
        """*person* as *login*, with those of their groups that *target* is told.

        Groups of the cluster's own are never among them: they are granted in the cluster, not by a sign-in.
        """
        groups = tuple(
            group
            for group in person.groups
            if any_matches(target.impersonate_groups, group)
            and not group.startswith(_OF_THE_CLUSTER)
            and group.isprintable()
            and group.strip() == group != ""  # HTTP drops spaces around a value: it would be another group
        )
        return cls(user=login, groups=groups, session=session)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What a request says of it."""
        headers = [("Impersonate-User", self.user)]
        headers += [("Impersonate-Group", group) for group in self.groups]
        if self.session:
            headers.append((f"Impersonate-Extra-{SESSION_EXTRA}", self.session))
        return headers
