"""What must stand on a PostgreSQL server so that the bastion gets in: a role, its database, a line of pg_hba.conf.

Knows the account on the bastion's side, and asks no server.
"""

from __future__ import annotations

import base64
import re
import secrets

from scramp import ScramMechanism  # type: ignore[import-untyped]

from bastion.config.targets import PostgresAccount, PostgresTarget
from bastion.runtime.logs import printable

_HBA_WORDS = frozenset({"all", "sameuser", "samerole", "samegroup", "replication"})


def new_password() -> str:
    """A password that nobody chose, of 256 bits."""
    return secrets.token_urlsafe(32)


def scram_verifier(password: str) -> str:
    """What `CREATE ROLE … PASSWORD` takes instead of *password*, which cannot be got back from it.

    The form of pg_authid.rolpassword (PostgreSQL documentation, section 53.8): with it the password itself is neither
    on a screen nor in the log of a server.
    """
    salt, stored, server, rounds = ScramMechanism("SCRAM-SHA-256").make_auth_info(password)
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${rounds}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def role_on(account: PostgresAccount) -> str:
    """What *account* is called on the server."""
    return account.role or account.login


def setup_statements(target: PostgresTarget, account: PostgresAccount, verifier: str = "") -> str:
    """SQL for psql as a superuser of the server, with what SQL cannot do in comments.

    The role gets the password of *verifier*; without one its password is set by whoever knows it, if it needs one.
    """
    role = _quoted(role_on(account))
    password = f" PASSWORD '{verifier}'" if verifier else ""
    databases = [name for name in target.databases if name != "*"]
    lines = [
        f"CREATE ROLE {role} LOGIN{password};",
        *(f"GRANT CONNECT ON DATABASE {_quoted(name)} TO {role};" for name in databases),
        f"-- Then what it may do there, as GRANT pg_read_all_data TO {role};",
        f"-- In pg_hba.conf: {hba_line(target, account)}",
    ]
    if account.password_file is not None and not verifier:
        lines.insert(1, f"\\password {role}")
    return "\n".join(printable(line) for line in lines)


def hba_line(target: PostgresTarget, account: PostgresAccount) -> str:
    """The line of pg_hba.conf by which the server lets *account* in; whoever writes it knows our address."""
    kind = "host" if target.tls == "off" else "hostssl"
    method = "scram-sha-256" if account.certificate_file is None else "cert"
    names = "all" if "*" in target.databases else ",".join(map(_hba_name, target.databases))
    return f"{kind} {names} {_hba_name(role_on(account))} ADDRESS-OF-THE-BASTION {method}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _hba_name(name: str) -> str:
    is_plain = re.fullmatch(r"[A-Za-z0-9_.-]+", name) and name not in _HBA_WORDS
    return name if is_plain else _quoted(name)
