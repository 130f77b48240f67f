"""ProxyJump: a client asks for a connection to a target, and gets one to us that speaks for the target.

The bytes never reach the target as they are. An SSH server of ours, inside the channel, shows a host certificate for
the target's name; the person is whoever signed in to the connection around it, the user name is the login; and each
session goes through the same door as all others: admitted, recorded, opened onward. The way on from there is that of
forwarding: through the onward connection, as far as rules grant it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable

import asyncssh

from bastion.config.targets import SshTarget
from bastion.identity.person import Person
from bastion.ssh.forwards import Through
from bastion.ssh.front import Front
from bastion.ssh.served import ServedConnection
from bastion.transport.algorithms import server_options
from bastion.transport.hooks import Limits, nested_connection
from policy.forwarding import End

SSH_PORT = 22
"""The port a client names when nobody told it another."""

LIMITS = Limits(unauthenticated_bytes=64 * 1024, channels=32)
"""Of a connection inside a connection; the one around it has a limit on these."""

_LOGIN_TIMEOUT = 30
"""Seconds for the key exchange; nobody has to sign in anew."""


class JumpConnection(ServedConnection):
    """The server side of one connection to a target, inside the connection of *outer*."""

    target: str

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

    def through(self, person: Person) -> Through | None:
        target = self._front.admission.visible(person, self.target)
        return Through(target, self.username) if isinstance(target, SshTarget) else None

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> tuple[asyncssh.SSHTCPChannel[bytes], Awaitable[asyncssh.SSHTCPSession[bytes]]]:
        # Also to what is a target's name elsewhere: inside a jump, hosts are those that this target sees.
        end = End(host=dest_host, port=dest_port)
        return self._conn.tcp_channel(), self.forwards.connect(end, (orig_host, orig_port))


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
