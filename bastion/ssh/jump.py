"""ProxyJump: a client asks for a connection to a target, and gets one to us that speaks for the target.

The bytes never reach the target as they are. An SSH server of ours, inside the channel, shows a host certificate for
the target's name; the person is whoever signed in to the connection around it, the user name is the login; and each
session goes through the same door as all others: admitted, recorded, opened onward. There is no way on from there.
"""

from __future__ import annotations

import dataclasses
from typing import NoReturn

import asyncssh
import structlog

from bastion.config.targets import SshTarget
from bastion.identity.person import Person
from bastion.ssh.front import Front
from bastion.ssh.served import ServedConnection, prohibited
from bastion.transport.algorithms import server_options
from bastion.transport.hooks import Limits, nested_connection

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
        self._outer.serve(self.live())

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
    front: Front, outer: ServedConnection, person: Person, target: SshTarget
) -> asyncssh.SSHTCPSession[bytes]:
    """The connection inside a channel of *outer* that answers for *target*."""
    return await nested_connection(
        lambda: JumpConnection(front, outer, person, target.name),
        await front.authorities.host_identity_for(target.name),
        LIMITS,
        login_timeout=_LOGIN_TIMEOUT,
        **server_options(),
    )
