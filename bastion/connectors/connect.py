"""The one door to targets of every kind: an admitted session in, the target's end of it out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from bastion.ca.authorities import Authorities
from bastion.config.model import Config
from bastion.config.targets import KubernetesTarget, PostgresTarget, SshTarget, Target
from bastion.connectors.kubernetes.inside import level_of
from bastion.connectors.kubernetes.session import open_pod
from bastion.connectors.levels import Level
from bastion.connectors.postgres.cancel import CancelKeys
from bastion.connectors.postgres.databases import databases_of
from bastion.connectors.postgres.psql import open_psql
from bastion.connectors.ssh import open_connection, open_ssh
from bastion.errors import TargetError
from bastion.identity.person import Person
from bastion.sessions.session import AdmittedSession
from bastion.transport.hooks import ClientConnection, Visitors
from recorder.events import Event, Exited, Killed


class TargetSide(Protocol):
    """The end towards a target, of any kind: events in and out, and how its program ended once it has."""

    @property
    def exit(self) -> Exited | Killed | None: ...

    async def receive(self) -> list[Event]:
        """All events since the last call, at least one; an empty list once the target is gone and drained."""
        ...

    async def deliver(self, events: list[Event]) -> None:
        """Pass *events* on, and wait until there is room for more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Connectors:
    """What connectors share, so that nobody chooses between kinds but here."""

    authorities: Authorities
    config: Callable[[], Config]
    cancel_keys: CancelKeys = field(default_factory=CancelKeys)

    @asynccontextmanager
    async def open(
        self, session: AdmittedSession, visitors: Visitors | None = None
    ) -> AsyncIterator[TargetSide]:
        """The target's end of *session*; it is closed on leaving. Raises TargetError.

        *visitors* answer for what an SSH target asks of the client: its agent, its screen.
        """
        match session.target:
            case SshTarget() as target:
                async with open_ssh(session, target, self.authorities, visitors) as end:
                    yield end
            case KubernetesTarget() as target:
                async with open_pod(session, target) as pod:
                    yield pod
            case PostgresTarget() as target:
                async with open_psql(session, target, self.cancel_keys, self.config) as program:
                    yield program

    async def level(self, person: Person, target: Target, login: str | None, path: str) -> Level | None:
        """What *person* can choose from in *target* below *path*; None where there is nothing, or no more.

        Raises TargetError.
        """
        match target:
            case PostgresTarget():
                return databases_of(target, person, login or person.user, path, self.config().policy.rules)
            case KubernetesTarget():
                return await level_of(target, person, login or person.user, path, self.config().policy.rules)
            case SshTarget():
                return None

    @asynccontextmanager
    async def open_forwarding(self, session: AdmittedSession) -> AsyncIterator[ClientConnection]:
        """The connection on which those of *session* pass; it is closed on leaving. Raises TargetError."""
        match session.target:
            case SshTarget() as target:
                async with open_connection(session, target, self.authorities) as connection:
                    yield connection
            case target:
                raise TargetError(f"nothing is forwarded on {target.name}: it is of the kind {target.kind}")
