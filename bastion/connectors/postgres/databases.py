"""Which database a client gets."""

from __future__ import annotations

from bastion.config.targets import PostgresTarget
from bastion.connectors.postgres.startup import Refused
from bastion.runtime.logs import printable

ANY = "*"


def database_of(target: PostgresTarget, named: str) -> str:
    """The database that was *named*, or the first one where none was. Raises Refused for one that is not offered."""
    offered = target.databases
    if not named:
        return target.default_database
    if named != ANY and (named in offered or ANY in offered):
        return named
    raise Refused(
        "3D000",
        f"{target.name} has no database {printable(named)[:64]} that can be reached through the bastion",
        f"There is: {', '.join(offered)}",
    )
