"""Connections that a client asks for through the bastion (direct-tcpip): whereto, by the kind of target it names.

What a person may not reach does not exist, here as elsewhere: one answer for hidden and absent targets, for other
ports and for the rest of the world.
"""

from __future__ import annotations

import asyncssh

from bastion.ca.lines import long_name
from bastion.config.targets import KubernetesTarget, PostgresTarget, SshTarget
from bastion.identity.person import Person
from bastion.kubectl.access import Access
from bastion.kubectl.kubeconfig import API_PORTS
from bastion.postgres.native import POSTGRES_PORT, serve_native
from bastion.ssh.forwards import Through
from bastion.ssh.front import Front
from bastion.ssh.jump import SSH_PORT, open_jump
from bastion.ssh.served import ServedConnection, prohibited
from bastion.transport.endpoint import TcpEnd
from policy.decide import no_such_target
from policy.forwarding import End


async def open_stream(
    front: Front, connection: ServedConnection, end: End, origin: tuple[str, int]
) -> asyncssh.SSHTCPSession[bytes]:
    """What answers for *end*. Raises asyncssh.ChannelOpenError, and leaves an audit event behind."""
    person, host, port = connection.person, end.host, end.port
    if person is None:  # let in as `login`, with a key that says nothing about who holds it
        raise await _refused(front, connection, host, port, no_such_target(host).reason)
    if problem := await front.standing.problem(person.serial):
        raise await _refused(front, connection, host, port, problem)
    stream = await _stream_of_target(front, connection, person, host, port)
    if stream is None:
        stream = await _forwarded(front, connection, person, end, origin)
    if stream is None:
        raise await _refused(front, connection, host, port, f"{no_such_target(host).reason} on port {port}")
    return stream


async def _stream_of_target(
    front: Front, connection: ServedConnection, person: Person, host: str, port: int
) -> asyncssh.SSHTCPSession[bytes] | None:
    """What answers for the target that *host* names, in its short or its long form; None if nothing does."""
    match front.admission.visible(person, _name(front, host)):
        case SshTarget() as target if port in (SSH_PORT, target.port):
            return await open_jump(front, connection, person, target)
        case PostgresTarget() as target if port in (POSTGRES_PORT, target.port):
            end = TcpEnd()
            connection.serve(serve_native(front, person, connection.client, target, end))
            return end
        case KubernetesTarget() as target if port in API_PORTS:
            return _open_kubectl(front, connection, person, target)
        case _:
            return None


def _open_kubectl(
    front: Front, connection: ServedConnection, person: Person, target: KubernetesTarget
) -> asyncssh.SSHTCPSession[bytes]:
    """A channel of the one way that this connection has to *target*, as it is configured now."""
    access = connection.clusters.get(target.name)
    if access is None or access.target != target:
        access = connection.clusters[target.name] = Access(
            front,
            person=person,
            client=connection.client,
            target=target,
            serve=connection.serve,
            lost=connection.lost,
        )
    end = TcpEnd()
    connection.serve(access.answer(end))
    return end


async def _forwarded(
    front: Front, connection: ServedConnection, person: Person, end: End, origin: tuple[str, int]
) -> asyncssh.SSHTCPSession[bytes] | None:
    """A connection through the target that the user name names, or else to one that *end* names, through itself."""
    if connection.through(person) is not None:
        return await connection.forwards.connect(end, origin)
    target = front.admission.visible(person, _name(front, end.host))
    if not isinstance(target, SshTarget):
        return None
    own = End(host="localhost", port=end.port)
    return await connection.forwards.connect(own, origin, Through(target, None))


def _name(front: Front, host: str) -> str:
    """The name of the target that *host* would be, in its short or its long form."""
    return host.removesuffix(long_name("", front.config().server.public_name))


async def _refused(
    front: Front, connection: ServedConnection, host: str, port: int, reason: str
) -> asyncssh.ChannelOpenError:
    await front.state.audit.record(
        "jump.refused",
        user=connection.person.user if connection.person is not None else None,
        client=str(connection.client),
        destination=f"{host}:{port}",
        reason=reason,
    )
    return prohibited(reason)
