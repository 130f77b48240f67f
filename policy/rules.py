"""What a policy is made of: rules and auditor rules, as frozen objects read from TOML."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Action = Literal["shell", "exec", "sftp"]


class Rule(BaseModel):
    """One rule. It matches when every list it fills in matches; an empty list of *groups* and *users* matches nobody."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="What the rule is called in logs and in `bastion policy explain`.")
    effect: Literal["allow", "deny"] = Field("allow", description="allow or deny; deny wins.")
    groups: tuple[str, ...] = Field((), description="Groups it is for (any of them); \"*\" is everybody.")
    users: tuple[str, ...] = Field((), description="Users it is for, beside the groups.")
    targets: tuple[str, ...] = Field((), description="Names of targets, with * and ? as wildcards.")
    labels: dict[str, str] = Field({}, description="Labels a target must all have; values may have wildcards.")
    logins: tuple[str, ...] = Field((), description="Logins on the target; {user} is the person's own name.")
    actions: tuple[Action, ...] = Field(("shell", "exec"), description="What may be done: shell, exec, sftp.")


class AuditorRule(BaseModel):
    """Who may list, replay and verify other people's sessions, and on which targets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: tuple[str, ...] = Field((), description="Groups of auditors.")
    users: tuple[str, ...] = Field((), description="Users who are auditors.")
    targets: tuple[str, ...] = Field(("*",), description="Targets whose sessions they may see.")
