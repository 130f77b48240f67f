"""What ops ask about targets: which host keys do they show, do they let us in, what must stand on them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncssh

from bastion.ca.authorities import Authorities
from bastion.config.targets import KubernetesTarget, PostgresTarget, SshTarget, Target
from bastion.connectors.postgres.psql_program import psql_problem
from bastion.connectors.ssh import connect_to
from bastion.errors import TargetError
from bastion.ops.clusters import CHECK_LOGIN, examine, groups_for
from bastion.ops.databases import examine_database
from bastion.sessions.admission import facts_of
from bastion.transport.algorithms import target_options
from policy.match import names_target
from policy.patterns import is_login
from policy.rules import Rule

HOST_KEY_KINDS = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),
)
"""Kinds of host key that are asked for, best first, and the signatures that prove each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """A host key as a target shows it: one line of OpenSSH's form, its fingerprint, and whether it is on record."""

    line: str
    fingerprint: str
    is_recorded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Whether a target lets the bastion in; *problem* and *hint* are empty if it does.

    With *is_behind* it does so only by an older key of the target CA, and must be told the present one.
    """

    target: str
    login: str
    problem: str = ""
    hint: str = ""
    is_behind: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not self.problem


async def scan(address: str, port: int, recorded: Sequence[str] = (), timeout: float = 10) -> list[HostKey]:
    """The host keys a server shows, without signing in. Raises TargetError when it shows none."""
    known = {asyncssh.import_public_key(line).public_data for line in recorded}
    found: list[HostKey] = []
    reason = ""
    for algorithms in HOST_KEY_KINDS:
        try:
            async with asyncio.timeout(timeout):
                # Whoever compares the key trusts it, whatever it was shown with.
                key = await asyncssh.get_server_host_key(
                    address,
                    port,
                    kex_algs=target_options(legacy=True)["kex_algs"],
                    server_host_key_algs=algorithms,
                    config=None,
                )
        except TimeoutError:
            reason = f"no answer within {timeout:g} seconds"
            break
        except asyncssh.KeyExchangeFailed:
            continue  # it has no key of that kind
        except (asyncssh.Error, ConnectionResetError) as error:
            reason = str(error)  # sshd without such a key closes the connection, sometimes before we read why
            continue
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            break
        if key is not None:
            line = " ".join(key.export_public_key().decode().split()[:2])
            found.append(
                HostKey(line=line, fingerprint=key.get_fingerprint(), is_recorded=key.public_data in known)
            )
    if not found:
        raise TargetError(
            f"{address} port {port} shows no host key: {reason or 'no kind of key that we take'}",
            hint="Is its SSH server running, and does a firewall let the bastion through?",
        )
    return found


async def check(target: Target, login: str, authorities: Authorities, rules: Sequence[Rule] = ()) -> Check:
    """Sign in to *target* as a session of somebody whom *rules* let in would, and leave again."""
    match target:
        case SshTarget():
            return await _check_ssh(target, login, authorities)
        case KubernetesTarget():
            found = await examine(target, login, groups_for(target, rules)[0])
            return Check(
                target=target.name, login=login, problem=found.problem, hint=found.hint, notes=found.notes
            )
        case PostgresTarget():
            account = await examine_database(target, login)
            lacking = await asyncio.to_thread(psql_problem)
            no_psql = (f"people get no psql from the bastion, only by clients of their own: {lacking}",)
            return Check(
                target=target.name,
                login=login,
                problem=account.problem,
                hint=account.hint,
                notes=(*account.notes, *(no_psql if lacking else ())),
            )


async def _check_ssh(target: SshTarget, login: str, authorities: Authorities) -> Check:
    """First with the present key of the target CA alone."""
    for newest_only in (True, False):
        try:
            connection = await connect_to(
                target, login, authorities, key_id="bastion:target-check", newest_only=newest_only
            )
        except TargetError as error:
            failure = error
            continue
        connection.close()
        await connection.wait_closed()
        return Check(target=target.name, login=login, is_behind=not newest_only)
    return Check(target=target.name, login=login, problem=failure.message, hint=_advice(target, failure))


def login_to_try(target: Target, rules: Sequence[Rule]) -> str | None:
    """A login that sessions on *target* take: its own, or the first that a rule names; None if none does."""
    if target.login is not None:
        return target.login
    named = (rule for rule in rules if rule.effect == "allow" and names_target(rule, facts_of(target)))
    usual: str | None = None
    match target:
        case KubernetesTarget():
            usual = CHECK_LOGIN  # one is as good as another there
        case PostgresTarget():
            usual = target.accounts[0].login
        case SshTarget():
            pass
    return next((login for rule in named for login in rule.logins if is_login(login)), usual)


def _advice(target: SshTarget, error: TargetError) -> str:
    if "bastion target check" in error.hint:  # the hint for users that led here
        return (
            f"Look at the log of sshd on {target.name}: does it trust the target CA (bastion ca show target), "
            "does the account exist, may it sign in?"
            if target.key_file is None
            else f"Is the public key of {target.key_file} in authorized_keys of that account?"
        )
    return error.hint


def setup_lines(target: SshTarget, trusted: Sequence[str]) -> str:
    """What to put on the target, ready to paste into a root shell there. *trusted* are lines of the target CA."""
    if target.key_file is not None:
        return f"# Put the public key of {target.key_file} into ~/.ssh/authorized_keys of each account."
    keys = "\n".join(trusted)
    return (
        f"cat > /etc/ssh/bastion_ca.pub <<'END'\n{keys}\nEND\n"
        "echo 'TrustedUserCAKeys /etc/ssh/bastion_ca.pub' > /etc/ssh/sshd_config.d/bastion.conf\n"
        "sshd -t && systemctl reload ssh"
    )
