"""The lines that make others trust an authority, ready to paste. Knows OpenSSH's file formats and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from bastion.state.ca_keys import CaKey


def authorized_ca_line(key: CaKey) -> str:
    """One line of the file that sshd's TrustedUserCAKeys names."""
    return f"{key.public} bastion-{key.authority}-ca-{key.id}"


def known_hosts_line(key: CaKey, public_name: str, port: int) -> str:
    """One line for ~/.ssh/known_hosts or /etc/ssh/ssh_known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    host = public_name if port == 22 else f"[{public_name}]:{port}"
    return f"@cert-authority {host} {authorized_ca_line(key)}"


def install_lines(keys: Iterable[CaKey], public_name: str, port: int) -> list[str]:
    """What is to be installed for *keys*: known_hosts lines for host keys, TrustedUserCAKeys lines for the others."""
    return [
        known_hosts_line(key, public_name, port) if key.authority == "host" else authorized_ca_line(key)
        for key in keys
    ]
