"""The lines that make others trust an authority, ready to paste. Knows OpenSSH's file formats and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bastion.state.ca_keys import CaKey


def authorized_ca_line(key: CaKey) -> str:
    """One line of the file that sshd's TrustedUserCAKeys names."""
    return f"{key.public} bastion-{key.authority}-ca-{key.id}"


def long_name(target: str, public_name: str) -> str:
    """What a target is called behind the bastion of that name, beside its own name."""
    return f"{target}.{public_name}"


def known_hosts_line(key: CaKey, public_name: str, port: int, targets: Iterable[str] = ()) -> str:
    """One line for ~/.ssh/known_hosts or /etc/ssh/ssh_known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

    It is for the bastion, for the long names of all targets there are and will be, and for the short names *targets*;
    never for `*`, or the bastion could pass for any host in the world.
    """
    host = public_name if port == 22 else f"[{public_name}]:{port}"
    hosts = ",".join([host, long_name("*", public_name), *targets])
    return f"@cert-authority {hosts} {authorized_ca_line(key)}"


def install_lines(
    keys: Iterable[CaKey], public_name: str, port: int, targets: Sequence[str] = ()
) -> list[str]:
    """What is to be installed for *keys*: known_hosts lines for host keys, TrustedUserCAKeys lines for the others."""
    return [
        known_hosts_line(key, public_name, port, targets)
        if key.authority == "host"
        else authorized_ca_line(key)
        for key in keys
    ]
