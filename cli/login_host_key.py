"""Whether the server that answers is the bastion: known_hosts, as OpenSSH reads and writes it.

A key that we know must match, a key that we do not know must be accepted by somebody. What they are asked, and how,
comes in as a function.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import asyncssh

from bastion.errors import BastionError
from cli.login_place import Place

_PUBLIC_KEYS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "rsa-sha2-512", "rsa-sha2-256")

Accept = Callable[[str], bool]
"""Asked with the fingerprint of an unknown host key."""

TrustedKeys = tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]
"""Host keys, keys of host CAs, revoked keys."""


class HostKeyError(BastionError):
    """The server's host key was not accepted."""

    exit_code = 255


async def trusted_keys(place: Place, known_hosts: Path, accept: Accept) -> TrustedKeys:
    """The keys that *place* may show; when none is known, its key is asked for and *accept* decides.

    An accepted key is added to *known_hosts*. Raises HostKeyError, or what connecting raises.
    """
    known = _read(known_hosts)
    # Under the name with its port only: asyncssh itself would fall back to whatever runs on port 22 there.
    host_keys, ca_keys, revoked, *_ = known.match(place.known_hosts_name, "", None)
    if host_keys or ca_keys:
        return list(host_keys), list(ca_keys), list(revoked)
    key = await asyncssh.get_server_host_key(
        place.host, place.port, server_host_key_algs=list(_PUBLIC_KEYS), config=None
    )
    if key is None or key in revoked:
        raise HostKeyError(f"the host key of {place.host} is revoked", hint=f"See {known_hosts}.")
    if not accept(key.get_fingerprint()):
        raise HostKeyError(
            f"the host key of {place.host} is not known, and was not accepted",
            hint=f"If it is {key.get_fingerprint()}, add: --accept-host-key {key.get_fingerprint()}",
        )
    _add(known_hosts, place, key)
    return [key], [], list(revoked)


def changed_key(place: Place, known_hosts: Path, why: str) -> HostKeyError:
    """The error for a server whose host key is not among those we trust."""
    return HostKeyError(
        f"the host key of {place.known_hosts_name} is not the one we know ({why})."
        " Somebody may be between you and the bastion; nothing was sent.",
        hint="Ask whoever runs the bastion. If its key was changed on purpose:"
        f" ssh-keygen -R '{place.known_hosts_name}' -f {known_hosts}",
    )


def _read(path: Path) -> asyncssh.SSHKnownHosts:
    try:
        return asyncssh.read_known_hosts(str(path))
    except FileNotFoundError:
        return asyncssh.SSHKnownHosts()
    except (ValueError, UnicodeDecodeError) as error:
        raise HostKeyError(f"{path} cannot be read: {error}", hint="Mend or remove the line.") from error


def _add(path: Path, place: Place, key: asyncssh.SSHKey) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    line = f"{place.known_hosts_name} {key.export_public_key().decode().strip()}\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":  # the last line may lack its end
                line = f"\n{line}"
        file.write(line.encode())
