"""The SSH half of `bastion login`: connect as `login`, and come back with a certificate for a new key.

With a browser it is the exchange of `bastion.identity.exchange`; without one the bastion itself shows a code
(`ssh login@bastion`), and its words are passed on. Knows neither files nor how the command line looks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    load_ssh_public_identity,
)

from bastion.errors import BastionError, SignInError
from bastion.identity.exchange import (
    LARGEST_MESSAGE,
    Granted,
    Refused,
    key_bound_nonce,
    read_answer,
    read_hello,
    write_token,
)
from bastion.identity.loopback import ShowUrl, provider_of, sign_in_with_browser
from cli.login_host_key import Accept, changed_key, trusted_keys
from cli.login_place import Place

_CONNECT_TIMEOUT = 20.0


class UnreachableError(BastionError):
    """The bastion cannot be reached, or is none."""

    exit_code = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A private key, and the certificate that makes it good until *expires_at* (Unix seconds)."""

    key: asyncssh.SSHKey
    certificate: str
    user: str
    expires_at: float


@asynccontextmanager
async def connected(
    place: Place, key: asyncssh.SSHKey, *, known_hosts: Path, accept: Accept
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection to *place* as `login`, with *key* proved and the host key verified."""
    try:
        host_keys, ca_keys, revoked = await trusted_keys(place, known_hosts, accept)
        connection = await asyncssh.connect(
            place.host,
            place.port,
            username="login",
            client_keys=[key],
            known_hosts=(host_keys, ca_keys, revoked),
            agent_path=None,
            config=None,
            connect_timeout=_CONNECT_TIMEOUT,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise changed_key(place, known_hosts, error.reason) from error
    except (OSError, asyncssh.Error) as error:
        raise UnreachableError(
            f"the bastion {place.known_hosts_name} cannot be reached: {_reason(error)}",
            hint="Is that its host and port? bastion login [user@]host[:port]",
        ) from error
    try:
        async with connection:
            yield connection
    except asyncssh.Error as error:
        raise UnreachableError(
            f"the connection to the bastion was lost: {error.reason}", hint="Run the command again."
        ) from error


async def sign_in_by_browser(
    connection: asyncssh.SSHClientConnection, key: asyncssh.SSHKey, *, show_url: ShowUrl
) -> Credential | None:
    """Sign in where *show_url* leads; None when the bastion's provider has no browser sign-in for us."""
    async with connection.create_process("exchange", encoding=None) as process:
        hello = read_hello(await _read_line(process))
        if not hello.browser:
            process.stdin.write_eof()
            await process.wait_closed()
            return None
        nonce = key_bound_nonce(hello.challenge, key.public_data)
        id_token = await sign_in_with_browser(provider_of(hello), nonce=nonce, show_url=show_url)
        process.stdin.write(write_token(id_token.reveal()))
        process.stdin.write_eof()
        answer = read_answer(await _read_line(process))
    match answer:
        case Refused(error=error, hint=hint):
            raise SignInError(error, hint=hint)
        case Granted(certificate=certificate):
            return _credential(key, certificate)


async def sign_in_by_code(
    connection: asyncssh.SSHClientConnection, key: asyncssh.SSHKey, *, show: Callable[[str], None]
) -> Credential:
    """Let the bastion show a code, a line of its words at a time to *show*, and wait for the certificate."""
    async with connection.create_process(encoding="utf-8", errors="replace") as process:
        async for line in process.stderr:
            show(line.rstrip("\r\n"))
        certificate = (await process.stdout.read(LARGEST_MESSAGE)).strip()
        await process.wait_closed()
    if not certificate:
        raise SignInError("the bastion gave no certificate", hint="Run the command again.")
    return _credential(key, certificate)


async def _read_line(process: asyncssh.SSHClientProcess[bytes]) -> bytes:
    line = await process.stdout.readline()
    if line:
        return line
    words = (await process.stderr.read(4096)).decode(errors="replace").strip()
    raise SignInError(
        words or "the bastion closed the connection", hint="" if words else "Run the command again."
    )


def _credential(key: asyncssh.SSHKey, line: str) -> Credential:
    """Read a certificate and see that it is one for *key*; raises SignInError."""
    try:
        certificate = load_ssh_public_identity(line.encode())
    except ValueError as error:
        raise SignInError(
            "the bastion sent something that is no certificate", hint="Is it a bastion?"
        ) from error
    ours = key.convert_to_public().export_public_key().split()[:2]
    if not isinstance(certificate, SSHCertificate) or _public_line(certificate) != ours:
        raise SignInError(
            "the bastion sent a certificate for another key", hint="Tell whoever runs the bastion."
        )
    user = b", ".join(certificate.valid_principals).decode(errors="replace")
    return Credential(key=key, certificate=line.strip(), user=user, expires_at=certificate.valid_before)


def _public_line(certificate: SSHCertificate) -> list[bytes]:
    return certificate.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[:2]


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"it did not answer within {_CONNECT_TIMEOUT:.0f} seconds"
        case asyncssh.PermissionDenied():
            return "it does not know the user login, so it is probably no bastion"
        case asyncssh.Error():
            return error.reason
        case OSError():
            return error.strerror or str(error)
    return str(error)
