"""What a target has inside that a person may choose from, level by level: databases; namespaces, pods, containers."""

from __future__ import annotations

from dataclasses import dataclass


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
