"""Where a credential goes so that stock ssh finds it: two files, a block of ssh_config, and the ssh-agent.

Knows OpenSSH's files and nothing of how a credential is come by.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import asyncssh

from bastion.runtime.files import replace_file
from cli.login_client import Credential
from cli.login_place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The files of a credential."""

    key: Path
    certificate: Path


def store(credential: Credential, place: Place, folder: Path) -> Stored:
    """Write key and certificate into *folder* (~/.ssh), each whole or not at all, for their owner only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stored = stored_at(place, folder)
    replace_file(stored.key, credential.key.export_private_key("openssh"))
    replace_file(stored.certificate, f"{credential.certificate}\n".encode())
    return stored


def stored_at(place: Place, folder: Path) -> Stored:
    """Where the credential for *place* is, or will be."""
    key = folder / f"bastion-{re.sub(r'[^A-Za-z0-9._-]', '-', place.host)}"
    return Stored(key=key, certificate=key.with_name(f"{key.name}-cert.pub"))


def config_block(place: Place, stored: Stored) -> str:
    """The ssh_config lines that make `ssh <alias>` use the credential.

    CertificateFile and IdentitiesOnly put the certificate first: an agent full of other keys would use up the
    server's patience before ssh came to it. Targets are reached through it by their long names, as its host
    certificates call them; one that is called by an address has no such names.
    """
    lines = [
        f"Host {place.alias}",
        f"    HostName {place.host}",
        f"    Port {place.port}",
        *([f"    User {place.user}"] if place.user else []),
        f"    IdentityFile {quoted(stored.key)}",
        f"    CertificateFile {quoted(stored.certificate)}",
        "    IdentitiesOnly yes",
        *([] if _is_ip(place.host) else [f"Host *.{place.host}", f"    ProxyJump {place.alias}"]),
    ]
    return "".join(f"{line}\n" for line in lines)


def write_config(path: Path, alias: str, block: str) -> bool:
    """Put *block* into the ssh_config file *path*, in the place of an earlier one; false when it was there already.

    It goes to the top, for ssh takes the first value it finds, and ends with `Match all`, so that options which stood
    at the top before hold for every host as they did.
    """
    begin, end = f"# bastion login: {alias}, begin\n", f"# bastion login: {alias}, end\n"
    path = path.resolve()  # a link into somebody's dotfiles stays one
    before = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
    wanted = f"{begin}{block}Match all\n{end}"
    earlier = re.compile(rf"^{re.escape(begin)}.*?^{re.escape(end)}", re.DOTALL | re.MULTILINE)
    after = (
        earlier.sub(lambda _: wanted, before, count=1) if earlier.search(before) else f"{wanted}\n{before}"
    )
    if after == before:
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    replace_file(path, after.encode(errors="surrogateescape"), mode=mode)
    return True


async def add_to_agent(credential: Credential, place: Place, *, agent: str | None, now: float) -> str | None:
    """Give the credential to the ssh-agent at *agent* until it expires; returns why that did not work."""
    if not agent:
        return "there is none"
    comment = f"bastion {place.known_hosts_name}"
    key = asyncssh.import_private_key(credential.key.export_private_key("openssh"))
    key.set_comment(comment)
    try:
        certificate = asyncssh.import_certificate(credential.certificate)
        certificate.set_comment(comment)
        async with await asyncssh.connect_agent(agent) as client:
            # Earlier ones of ours are of no more use, and ssh would try them all.
            await client.remove_keys([old for old in await client.get_keys() if old.get_comment() == comment])
            await client.add_keys([(key, certificate)], lifetime=max(1, int(credential.expires_at - now)))
    except (OSError, ValueError, asyncssh.Error) as error:
        return str(error)
    return None


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def quoted(path: Path) -> str:
    """*path* as ssh_config, and an option of ssh, takes it."""
    text = str(path).replace("%", "%%")  # ssh_config expands tokens in both files' names
    return f'"{text}"' if re.search(r"\s", text) else text
