"""The settings of retention: which recordings are removed when. Without rules nothing ever is.

Knows how rules are written; `bastion.ops.retention` applies them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, ByteSize, Field, PlainSerializer

from bastion.config.section import Section
from bastion.config.values import Line, Switch, Text
from policy.durations import Duration, PositiveDuration


def _size(value: ByteSize) -> ByteSize:
    if value <= 0:
        raise ValueError('write a size such as "50GB" or "200GiB"')
    return value


Size = Annotated[
    ByteSize, AfterValidator(_size), PlainSerializer(lambda value: f"{int(value)}B", when_used="json")
]


class RetentionRule(Section):
    """How long recordings of some sessions are kept. The first rule that is for a recording decides, alone."""

    name: Annotated[Line, Field(min_length=1, max_length=64)] = Field(
        description="What the rule is called in plans and in the notes of what was removed.",
        examples=["staging"],
    )
    targets: tuple[Text, ...] = Field(
        (), description="Names of targets, with wildcards * and ?; empty for all.", examples=[["web-*"]]
    )
    kinds: tuple[Text, ...] = Field(
        (),
        description="Kinds of targets: ssh, postgres, kubernetes; empty for all.",
        examples=[["postgres"]],
    )
    labels: dict[str, Text] = Field(
        {},
        description="Labels the target had, all of them, when the session was recorded; wildcards in values.",
        examples=[{"env": "staging"}],
    )
    keep: PositiveDuration | None = Field(
        None,
        description="How long after their end recordings are removed. Without keep and size they are kept for good.",
        examples=["365d"],
    )
    size: Size | None = Field(
        None,
        description="How much the recordings of this rule may take together, such as 500MB, 50GB or 1TiB; when it is"
        " more the oldest go first.",
        examples=["50GB"],
    )
    at_least: Duration = Field(
        timedelta(days=7),
        description="For so long after its end no recording goes for its size, so that nobody can push out what he did"
        " by filling the disk.",
    )


def _rules(rules: tuple[RetentionRule, ...]) -> tuple[RetentionRule, ...]:
    names = [rule.name for rule in rules]
    for place, rule in enumerate(rules):
        if rule.name in names[:place]:
            raise ValueError(f"two rules are called '{rule.name}'; give each a name of its own")
        if rule is not rules[-1] and not (rule.targets or rule.kinds or rule.labels):
            raise ValueError(
                f"'{rule.name}' is for every recording, so that none comes to the rules after it; put it last"
            )
        if rule.keep is not None and rule.keep < rule.at_least and "at_least" in rule.model_fields_set:
            raise ValueError(f"keep of '{rule.name}' is shorter than its at_least")
    return rules


class Retention(Section):
    automatic: Switch = Field(
        True,
        description="Apply the rules once a day while the bastion runs. With false only bastion retention apply does.",
    )
    rules: Annotated[tuple[RetentionRule, ...], AfterValidator(_rules)] = Field(
        (),
        description="How long recordings are kept: the first rule that is for a recording decides. Without rules, and"
        " where none is for it, a recording is kept for good.",
    )
