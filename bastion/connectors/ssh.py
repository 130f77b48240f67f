"""The onward session to an SSH host.

Each session has a connection of its own, signed in with a key pair and a certificate made for it (or a static key
where the target cannot trust our CA), so that the target's own log names the person and the session. The host key
must be one on record or certified by a CA on record; another one is refused, never asked about.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import structlog

from bastion.ca.authorities import TERMINAL, Authorities
from bastion.ca.certificates import Permit
from bastion.config.targets import SshTarget
from bastion.errors import HostKeyMismatch, KeyFileError, TargetError
from bastion.runtime.files import read_private
from bastion.sessions.session import AdmittedSession
from bastion.transport.algorithms import host_key_algorithms, target_options
from bastion.transport.endpoint import TargetEnd
from bastion.transport.hooks import ClientConnection, Visitors, connect
from bastion.transport.request import SessionRequest

log = structlog.get_logger()

KEEPALIVE_INTERVAL = 30
_UNSAFE = re.compile(r"[^A-Za-z0-9._@+-]")


@asynccontextmanager
async def open_ssh(
    session: AdmittedSession, host: SshTarget, authorities: Authorities, visitors: Visitors | None = None
) -> AsyncIterator[TargetEnd]:
    """The target's end of *session* on *host*; the connection is closed on leaving. Raises TargetError.

    *visitors* answer for channels that the target opens to the client.
    """
    async with open_connection(session, host, authorities) as connection:
        connection.visitors = visitors
        limit = host.connect_timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                target = await connection.open_channel(TargetEnd(), session.request)
        except TimeoutError:
            raise TargetError(f"{host.name} did not open the session within {limit:g} seconds") from None
        except (asyncssh.Error, OSError) as error:
            raise TargetError(f"{host.name} refused to open the session: {_reason(error)}") from error
        yield target
        # The connection goes, and not the channel first: sshd answers its close only when the program is gone.


@asynccontextmanager
async def open_connection(
    session: AdmittedSession, host: SshTarget, authorities: Authorities
) -> AsyncIterator[ClientConnection]:
    """A connection to *host* for *session* and for nothing else, closed on leaving. Raises TargetError."""
    person = session.person
    connection = await connect_to(
        host,
        session.login,
        authorities,
        key_id=onward_key_id(person.user, session.id),
        serial=person.serial,
        permits=_permits(session.request),
    )
    try:
        yield connection
    finally:
        connection.close()
        await connection.wait_closed()


async def connect_to(
    target: SshTarget,
    login: str,
    authorities: Authorities,
    *,
    key_id: str,
    serial: int = 0,
    permits: frozenset[Permit] = TERMINAL,
    newest_only: bool = False,
) -> ClientConnection:
    """Connect and sign in to *target* as *login*. Raises TargetError with what to do about it.

    *key_id* and *serial* stand in the certificate, and so in the log of the target, *permits* is what its sshd lets us
    do. With *newest_only* it must know the
    present key of the target CA; else an older one does that is still trusted.
    """
    host = _HostKeyCheck()
    legacy = target.legacy_algorithms
    host_keys = [_public(line) for line in target.host_keys]
    if target.key_file is not None:
        credentials: list[Any] = [_static_key(target, target.key_file)]
    else:
        credentials = list(await authorities.onward(login, key_id, serial=serial, permits=permits))
        del credentials[1 if newest_only else len(credentials) :]
    try:
        async with asyncio.timeout(target.connect_timeout.total_seconds()):
            return await connect(
                lambda: host,
                target.address,
                target.port,
                username=login,
                client_keys=credentials,
                known_hosts=(host_keys, [_public(k) for k in target.host_ca], []),
                server_host_key_algs=host_key_algorithms(
                    host_keys, certified=bool(target.host_ca), legacy=legacy
                ),
                host_key_alias=target.name if target.host_ca else None,
                agent_path=None,
                agent_forwarding=False,
                preferred_auth="publickey",
                disable_trivial_auth=True,
                keepalive_interval=KEEPALIVE_INTERVAL,
                **target_options(legacy=legacy),
            )
    except TimeoutError:
        seconds = target.connect_timeout.total_seconds()
        raise TargetError(
            f"{target.name} did not answer within {seconds:g} seconds",
            hint=f"The bastion tried {target.address} port {target.port}.",
        ) from None
    except asyncssh.HostKeyNotVerifiable as error:
        raise _mismatch(target, host, error) from error
    except asyncssh.PermissionDenied as error:
        raise TargetError(
            f"{target.name} refused to let the bastion sign in as {login}",
            hint=f"People who run the bastion see why with: bastion target check {target.name} --login {login}",
        ) from error
    except asyncssh.KeyExchangeFailed as error:
        raise TargetError(
            f"{target.name} and the bastion have no algorithm in common: {_reason(error)}",
            hint="Old servers and appliances get legacy_algorithms = true in their [[targets]]."
            if not legacy
            else "It is too old for the bastion: CBC and DSA are not spoken.",
        ) from error
    except (asyncssh.Error, OSError) as error:
        raise TargetError(
            f"{target.name} cannot be reached: {_reason(error)}",
            hint=f"The bastion tried {target.address} port {target.port}.",
        ) from error


def _permits(request: SessionRequest) -> frozenset[Permit]:
    """No more than *request* is for: the target itself then refuses everything else."""
    if request.kind in ("forward", "listen"):
        return frozenset({"permit-port-forwarding"})
    permits: set[Permit] = {*TERMINAL}
    if request.agent:
        permits.add("permit-agent-forwarding")
    if request.x11 is not None:
        permits.add("permit-X11-forwarding")
    return frozenset(permits)


def onward_key_id(user: str, session_id: str) -> str:
    """The key id of an onward certificate, as the target's log shows it."""
    return f"u:{_UNSAFE.sub('_', user)[:64]}/session:{session_id}"


class _HostKeyCheck(asyncssh.SSHClient):
    """Trusts nothing beyond the keys on record, and remembers what was offered instead."""

    offered: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.offered = key
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.offered = key
        return False


def _mismatch(target: SshTarget, host: _HostKeyCheck, error: Exception) -> HostKeyMismatch:
    offered = f"it offered {host.offered.get_fingerprint()}" if host.offered is not None else _reason(error)
    return HostKeyMismatch(
        f"the host key of {target.name} is not the one on record ({offered}); the connection was refused",
        hint="If the key was changed on purpose, people who run the bastion record the new one with: "
        f"bastion target scan {target.name}",
    )


def _static_key(target: SshTarget, file: Path) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(read_private(file))
    except (KeyFileError, asyncssh.KeyImportError) as error:
        # Where keys lie is for the log, not for the person in the session.
        log.error("target.key-unusable", target=target.name, file=str(file), reason=str(error))
        raise TargetError(
            f"the bastion cannot use its key for {target.name}", hint="Tell the people who run this bastion."
        ) from error


def _public(line: str) -> asyncssh.SSHKey:
    return asyncssh.import_public_key(line)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
