"""ProxyJump: a client asks for a connection to a target, and gets one to us that speaks for the target.

The bytes never reach the target as they are. An SSH server of ours, inside the channel, shows a host certificate for
the target's name; the person is whoever signed in to the connection around it, the user name is the login; and each
session goes through the same door as all others: admitted, recorded, opened onward. There is no way on from there.

What a person may not reach does not exist, here as elsewhere: one answer for hidden and absent targets, for other
ports and for the rest of the world.
"""

from __future__ import annotations

import dataclasses
from typing import NoReturn

import asyncssh
import structlog

from bastion.ca.lines import long_name
from bastion.config.model import Target
from bastion.identity.person import Person
from bastion.ssh.front import Front
from bastion.ssh.served import ServedConnection
from bastion.transport.algorithms import server_options
from bastion.transport.hooks import Limits, nested_connection
from policy.decide import no_such_target

log = structlog.get_logger()

SSH_PORT = 22
"""The port a client names when nobody told it another."""

LIMITS = Limits(unauthenticated_bytes=64 * 1024, channels=16)
"""Of a connection inside a connection; the one around it has a limit on these."""

_LOGIN_TIMEOUT = 30
"""Seconds for the key exchange; nobody has to sign in anew."""


class JumpConnection(ServedConnection):
    """The server side of one connection to a target, inside the connection of *outer*."""

    def __init__(self, front: Front, outer: ServedConnection, person: Person, target: str) -> None:
        super().__init__(front)
        self._outer = outer
        self._person = person
        self.client = outer.client
        self.target = target

    @property
    def person(self) -> Person:
        return self._person

    @property
    def proven_key(self) -> asyncssh.SSHKey | None:
        return self._outer.proven_key

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        super().connection_made(conn)
        self._outer.adopt(self)

    def begin_auth(self, username: str) -> bool:
        self.username = username
        return False

    def auth_completed(self) -> None:
        version = self._conn.get_extra_info("client_version", "")
        self.client = dataclasses.replace(self.client, version=version)

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> NoReturn:
        log.info("jump.refused", client=str(self.client), reason="a jump inside a jump")
        raise prohibited(f"jump from the bastion, not from {self.target}")


async def open_jump(
    front: Front, outer: ServedConnection, host: str, port: int
) -> asyncssh.SSHTCPSession[bytes]:
    """The connection that answers for *host*. Raises asyncssh.ChannelOpenError, and leaves an audit event behind."""
    person = outer.person
    target = _target(front, person, host, port)
    problem = await front.standing.problem(person.serial) if person is not None else None
    if person is None or target is None or problem is not None:
        await front.state.audit.record(
            "jump.refused",
            user=person.user if person is not None else None,
            client=str(outer.client),
            destination=f"{host}:{port}",
            reason=problem or "not a target that this person may reach",
        )
        raise prohibited(problem or f"{no_such_target(host).reason} on port {port}")
    return await nested_connection(
        lambda: JumpConnection(front, outer, person, target.name),
        await front.authorities.host_identity_for(target.name),
        LIMITS,
        login_timeout=_LOGIN_TIMEOUT,
        **server_options(),
    )


def prohibited(reason: str) -> asyncssh.ChannelOpenError:
    """The refusal of a channel, as a client of ours gets it."""
    return asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, reason)


def _target(front: Front, person: Person | None, host: str, port: int) -> Target | None:
    """The target that *host* names, in its short or its long form, if *person* may know of it and *port* is SSH's."""
    if person is None:
        return None
    name = host.removesuffix(long_name("", front.config().server.public_name))
    target = front.admission.visible(person, name)
    return target if target is not None and port in (SSH_PORT, target.port) else None
