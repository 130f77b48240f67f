"""What ops ask about PostgreSQL servers: do they let the bastion in, as whom, and is that more than it should be."""

from __future__ import annotations

from dataclasses import dataclass

from bastion.config.targets import PostgresAccount, PostgresTarget
from bastion.connectors.postgres.messages import Malformed, fields_of, message
from bastion.connectors.postgres.server import Server, SignInRefused, signed_in
from bastion.connectors.postgres.stream import Buffered
from bastion.errors import TargetError
from bastion.ops.database_setup import hba_line, role_on

_ABOUT = """
SELECT current_setting('server_version'), current_user, rolsuper, rolcreaterole, rolreplication, rolbypassrls,
    coalesce((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()), ''),
    array_to_string(ARRAY(
        SELECT r.rolname FROM pg_roles r WHERE pg_has_role(r.oid, 'MEMBER') AND r.rolname IN
            ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')), ', ')
FROM pg_roles WHERE rolname = current_user
"""
_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND has_database_privilege(oid, 'CONNECT')"
_LONGEST_ROW = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAccount:
    """What was found out, line by line, and what is wrong, if something is."""

    notes: tuple[str, ...] = ()
    problem: str = ""
    hint: str = ""


async def examine_database(target: PostgresTarget, login: str) -> ServerAccount:
    """Sign in to *target* as the account of *login*, and look around."""
    account = next((each for each in target.accounts if each.login == login), None)
    if account is None:
        there = ", ".join(each.login for each in target.accounts)
        return ServerAccount(
            problem=f"the bastion has no account {login} on {target.name}", hint=f"There is: {there}"
        )
    wanted = {"database": target.default_database, "application_name": "bastion target check"}
    try:
        async with signed_in(target, account, wanted) as server:
            asking = Buffered(server.stream)
            asking.rest = server.rest
            notes = _notes(target, account, server, (await _rows(asking, _ABOUT))[0])
            open_ones = {name for (name,) in await _rows(asking, _DATABASES)}
    except SignInRefused as error:
        return ServerAccount(
            problem=f"{target.name}: {error.said} ({error.code})", hint=_advice(target, account, error.code)
        )
    except TargetError as error:
        return ServerAccount(problem=error.message, hint=error.hint)
    except (Malformed, ConnectionError) as error:
        return ServerAccount(problem=f"{target.name} does not answer as it should: {error}")
    closed = [name for name in target.databases if name not in open_ones and name != "*"]
    if closed:
        return ServerAccount(
            notes=notes,
            problem=f"{role_on(account)} cannot connect to {', '.join(closed)}",
            hint="Does the database exist? GRANT CONNECT ON DATABASE … TO … lets the role in.",
        )
    return ServerAccount(notes=notes)


async def _rows(server: Buffered, statement: str) -> list[list[str]]:
    """The rows of *statement*; NULL is empty. Raises TargetError for an error of the server."""
    await server.stream.write(message(b"Q", statement.encode() + b"\0"))
    rows: list[list[str]] = []
    while True:
        kind, body = await server.message(_LONGEST_ROW)
        match kind:
            case b"D":
                rows.append(_values(body))
            case b"E":
                raise TargetError(f"the server says: {fields_of(body).get('M', 'nothing')}")
            case b"Z":
                return rows


def _values(body: bytes) -> list[str]:
    values, at = [], 2
    for _ in range(int.from_bytes(body[:2])):
        length, at = int.from_bytes(body[at : at + 4], signed=True), at + 4
        values.append(body[at : at + max(0, length)].decode("utf-8", "replace"))
        at += max(0, length)
    return values


def _notes(
    target: PostgresTarget, account: PostgresAccount, server: Server, about: list[str]
) -> tuple[str, ...]:
    version, user, is_super, may_make_roles, may_replicate, sees_all_rows, tls, beyond = about
    way = "a client certificate" if account.certificate_file is not None else "a password"
    notes = [
        f"PostgreSQL {version} over {tls or 'no TLS'}",
        f"the bastion is {user} there, by {server.proof or way}",
    ]
    if target.tls == "off":
        notes.append("WARNING: statements and results cross the network in the clear (tls)")
    if is_super == "t":
        notes.append(
            "WARNING: it is a superuser: people can run programs on the server, and change what it logs"
        )
    elif beyond:
        notes.append(f"WARNING: it is a member of {beyond}: people reach past the database, to the machine")
    rights = {
        "make roles": may_make_roles,
        "replicate": may_replicate,
        "see rows that policies hide": sees_all_rows,
    }
    if is_super != "t" and (more := [right for right, has in rights.items() if has == "t"]):
        notes.append(f"WARNING: it may {', '.join(more)}")
    if account.password_file is not None:
        notes.append(
            "whoever uses it can change its password (\\password); a certificate cannot be changed so"
        )
    return tuple(notes)


def _advice(target: PostgresTarget, account: PostgresAccount, code: str) -> str:
    role = role_on(account)
    match code:
        case "28P01" if account.password_file is not None:
            return f"Is {account.password_file} the password of {role}? Set it: \\password {role}"
        case "28P01":
            return f"The server asks for a password of {role}; for a certificate pg_hba.conf must say cert."
        case "28000":
            return f"Does {role} exist, with LOGIN? pg_hba.conf needs: {hba_line(target, account)}"
        case "3D000":
            return "databases names what the server does not have."
        case "53300":
            return "Raise max_connections, or the CONNECTION LIMIT of the role."
        case _:
            return "Look at the log of the server."
