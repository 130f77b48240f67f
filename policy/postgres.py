"""What a rule says about a PostgreSQL server: which databases it is for, and what holds for the sessions it lets in.

In an allow rule these narrow what it allows; a deny rule with them denies these databases and nothing else. What a
role may do on the server the server decides: these limits keep from accidents, its grants are the fence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from policy.durations import PositiveDuration
from policy.patterns import any_matches

LIMITS = ("read_only", "statement_timeout", "idle_in_transaction_timeout")
"""What says more of the sessions that a rule lets in, and so has no place in a deny rule."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database that somebody wants to work in."""

    name: str

    def __str__(self) -> str:
        return f"the database {self.name}"


class PostgresTerms(BaseModel):
    """Databases that a rule is for, and limits of their sessions. A rule without it is for all, and sets none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    databases: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = Field(
        ("*",), description="Databases it is for, with wildcards.", examples=[["orders", "archive_*"]]
    )
    read_only: bool = Field(
        False,
        description="Begin transactions read-only, and refuse statements that plainly lift it.",
    )
    statement_timeout: PositiveDuration | None = Field(
        None, description="Statements that run for longer are cancelled.", examples=["5m"]
    )
    idle_in_transaction_timeout: PositiveDuration | None = Field(
        None,
        description="Sessions end that keep a transaction open for so long without doing anything in it.",
        examples=["10m"],
    )

    def covers(self, database: Database) -> bool:
        """Whether *database* is one of these."""
        return any_matches(self.databases, database.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLimits:
    """What holds for the statements of a session."""

    read_only: bool = False
    statement_timeout: timedelta | None = None
    idle_in_transaction_timeout: timedelta | None = None

    @classmethod
    def narrowest(cls, several: Iterable[PostgresTerms | None]) -> Self:
        """Of the allow rules that let a session in: a limit that one rule sets is not lifted by another one."""
        terms = [each for each in several if each is not None]
        return cls(
            read_only=any(each.read_only for each in terms),
            statement_timeout=min(
                (each.statement_timeout for each in terms if each.statement_timeout is not None), default=None
            ),
            idle_in_transaction_timeout=min(
                (
                    each.idle_in_transaction_timeout
                    for each in terms
                    if each.idle_in_transaction_timeout is not None
                ),
                default=None,
            ),
        )
