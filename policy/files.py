"""What a rule says about copying files: which way, and which paths.

Paths are taken as the client names them. Who reaches a file by another name of it (a link on the target, `cd` in a
shell) is held back by the rights of the login there, not by this.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from policy.patterns import any_matches

Direction = Literal["upload", "download"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


class FileTerms(BaseModel):
    """How far a rule lets files be copied. A rule without it says nothing of directions and paths."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    directions: Annotated[tuple[Direction, ...], Field(min_length=1)] = Field(
        DIRECTIONS,
        description="upload (to the target: also remove, rename and whatever else changes files), download, or both.",
    )
    paths: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = Field(
        ("*",),
        description="Paths that may be named, with wildcards (* also stands for /). What is named from the home"
        " directory on is matched as it is named.",
        examples=[["/srv/exchange/*", "exchange/*"]],
    )


@dataclass(frozen=True, slots=True)
class Copying:
    """What several rules allow together: each operation is allowed that one of them allows."""

    terms: tuple[FileTerms, ...]

    @classmethod
    def of(cls, several: Sequence[FileTerms | None]) -> Copying:
        """Of the allow rules that let a session in; None is a rule that says nothing, and so allows all."""
        return cls(tuple(FileTerms() if terms is None else terms for terms in several))

    @property
    def allows_all(self) -> bool:
        return any(terms == FileTerms() for terms in self.terms)

    @property
    def holds_to_paths(self) -> bool:
        """Whether some paths may not be named at all."""
        return not any("*" in terms.paths for terms in self.terms)

    def allows(self, direction: Direction, path: str | None = None) -> bool:
        """Whether files may go in *direction*; with a *path*, to or from there."""
        return any(
            direction in terms.directions and (path is None or _fits(path, terms.paths))
            for terms in self.terms
        )


def _fits(path: str, patterns: Sequence[str]) -> bool:
    """Whether *path* is one of *patterns*. One with `..` is only what a lone `*` allows: it may lead anywhere."""
    if "*" in patterns:
        return True
    return ".." not in path.split("/") and any_matches(patterns, posixpath.normpath(path))
