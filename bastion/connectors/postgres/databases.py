"""Which database a client gets, and which there are to choose from."""

from __future__ import annotations

from collections.abc import Sequence

from bastion.config.targets import PostgresTarget
from bastion.connectors.levels import Level, Place
from bastion.connectors.postgres.startup import Refused
from bastion.identity.person import Person
from bastion.runtime.logs import printable
from bastion.sessions.admission import facts_of, subject_of
from policy.decide import decide
from policy.patterns import is_concrete
from policy.postgres import Database
from policy.rules import Rule

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


def databases_of(
    target: PostgresTarget, person: Person, login: str, path: str, rules: Sequence[Rule]
) -> Level | None:
    """The databases that *person* may choose from as *login*; None once one is named, and where none can be.

    Where a target offers any, those are offered that rules name.
    """
    if path:
        return None
    names = [target.default_database, *(name for name in target.databases if name != ANY)]
    if ANY in target.databases:
        terms = [rule.postgres for rule in rules if rule.postgres is not None]
        names += [name for each in terms for name in each.databases if is_concrete(name)]
    subject, facts = subject_of(person), facts_of(target)
    open_ones = [
        name
        for name in dict.fromkeys(names)
        if decide(rules, subject, facts, login, "shell", Database(name)).allowed
    ]
    if not open_ones:
        return None
    usual = "taken when nobody names one"
    places = [
        Place(name=name, path=name, description=usual if name == target.default_database else "")
        for name in open_ones
    ]
    return Level(kind="database", places=tuple(places))
