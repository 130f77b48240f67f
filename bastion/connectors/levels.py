"""What a target has inside that a person may choose from, level by level: databases; namespaces, pods, containers."""

from __future__ import annotations

from dataclasses import dataclass

from bastion.config.targets import PostgresTarget
from bastion.connectors.postgres.databases import ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Something inside a target. *path* is what would be typed after `target/` to name it, from the first level on."""

    name: str
    path: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The places of one level, best first; *kind* is what one of them is called ("database").

    Where it *changes* by itself, it is asked for again while somebody looks at it.
    """

    kind: str
    places: tuple[Place, ...]
    changes: bool = False


def databases(target: PostgresTarget, path: str) -> Level | None:
    """The databases of *target* that can be named; None once one is, and where none can."""
    names = [name for name in target.databases if name != ANY]
    if path or not names:
        return None
    first = "taken when nobody names one" if len(names) > 1 else ""
    return Level(
        kind="database",
        places=tuple(
            Place(name=name, path=name, description="" if number else first)
            for number, name in enumerate(names)
        ),
    )
