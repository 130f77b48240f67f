"""What a policy is made of: rules and auditor rules, as frozen objects read from TOML.

What an allow rule leaves out it does not allow; what a deny rule leaves out it denies. So a rule that says too
little errs towards no. Whom a rule is for must be said in both. `decide.py` gives the rules their meaning.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from policy.durations import PositiveDuration
from policy.files import FileTerms
from policy.forwarding import EndPattern
from policy.kubernetes import KubernetesTerms
from policy.patterns import check_login_pattern
from policy.postgres import LIMITS, PostgresTerms

Action = Literal["shell", "exec", "sftp", "connect", "forward", "listen", "agent", "x11"]
ACTIONS: tuple[Action, ...] = get_args(Action)
FORWARDING: tuple[Action, ...] = ("forward", "listen", "agent", "x11")
"""What is granted by settings of the same names, and never by a rule that does not name them."""
_BY_DEFAULT: tuple[Action, ...] = ("shell", "exec", "connect")
_ON_DATA: tuple[Action, ...] = ("shell", "exec", "connect")
_ON: dict[str, tuple[Action, ...]] = {
    "ssh": ("shell", "exec", "sftp", *FORWARDING),
    "postgres": _ON_DATA,
    "kubernetes": _ON_DATA,
}


def actions_on(kind: str) -> tuple[Action, ...]:
    """What can be done on targets of *kind* at all."""
    return _ON.get(kind, ACTIONS)


_LIMITS = {"idle_timeout", "max_duration", "files"}
"""What says more of the sessions that a rule lets in."""

LoginPattern = Annotated[str, AfterValidator(check_login_pattern)]
Pattern = Annotated[str, Field(min_length=1)]


def _name(value: str) -> str:
    if not value.isprintable():
        raise ValueError("use printable characters only")
    return value


def _any_if_denying(data: dict[str, Any]) -> tuple[str, ...]:
    return ("*",) if data.get("effect") == "deny" else ()


def _default_actions(data: dict[str, Any]) -> tuple[Action, ...]:
    return ACTIONS if data.get("effect") == "deny" else _BY_DEFAULT


class Rule(BaseModel):
    """One rule: it matches who (groups or users), which target (name and labels), which login and which action."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_name)] = Field(
        description="What the rule is called in logs and in `bastion policy explain`.",
        examples=["developers"],
    )
    effect: Literal["allow", "deny"] = Field(
        "allow", description="allow or deny. One deny that matches outweighs every allow."
    )
    groups: tuple[Pattern, ...] = Field(
        (),
        description='Groups it is for, any of them; * and ? are wildcards, "*" is everybody, in a group or not.',
        examples=[["developers"]],
    )
    users: tuple[Pattern, ...] = Field(
        (), description="Users it is for, beside those in the groups; wildcards too.", examples=[["alice"]]
    )
    targets: tuple[Pattern, ...] = Field(
        default_factory=_any_if_denying,
        description="Names of targets, with wildcards. An allow rule needs targets or labels; a deny rule without"
        " them is for every target.",
        examples=[["web-*"]],
    )
    labels: dict[str, Pattern] = Field(
        {},
        description="Labels a target must all have; values may have wildcards. With targets, both must match.",
        examples=[{"env": "staging"}],
    )
    logins: tuple[LoginPattern, ...] = Field(
        default_factory=_any_if_denying,
        description="Logins on the target, with wildcards; {user} is the person's own name. An allow rule needs"
        " them; a deny rule without them is for every login.",
        examples=[["deploy", "{user}"]],
    )
    actions: tuple[Action, ...] = Field(
        default_factory=_default_actions,
        description="What may be done: shell, exec (one command), sftp, connect (a client of one's own to a database"
        " or a cluster). Left out, an allow rule is for all of these but sftp, a deny rule for everything. forward,"
        " listen, agent and x11 are added by the settings of these names; a deny rule may name them here.",
        examples=[["shell", "exec"]],
    )

    forward: tuple[EndPattern, ...] = Field(
        (),
        description="Where connections may be forwarded to (ssh -L, -D): host:port as seen from the target, with"
        " wildcards, networks and ranges of ports, or paths of sockets. In a deny rule: where they may not.",
        examples=[["localhost:80", "*.internal:5432", "10.0.0.0/8:8000-8099", "/run/app.sock"]],
    )
    listen: tuple[EndPattern, ...] = Field(
        (),
        description="Where on the target connections may be waited for (ssh -R), in the same way.",
        examples=[["localhost:9000-9099"]],
    )
    agent: bool = Field(False, description="Whether sessions may use the person's SSH agent (ssh -A).")
    x11: bool = Field(False, description="Whether sessions may open windows on the person's screen (ssh -X).")

    idle_timeout: PositiveDuration | None = Field(
        None,
        description="Sessions it allows end when nothing happened in them for so long.",
        examples=["15m"],
    )
    max_duration: PositiveDuration | None = Field(
        None, description="Sessions it allows end after so long, whatever happens in them.", examples=["4h"]
    )

    files: FileTerms | None = Field(
        None, description="How far it lets files be copied; without it, all of them."
    )
    kubernetes: KubernetesTerms | None = Field(
        None, description="What of Kubernetes clusters it is for; without it, all of them."
    )
    postgres: PostgresTerms | None = Field(
        None, description="What of PostgreSQL servers it is for; without it, all of them."
    )

    @model_validator(mode="before")
    @classmethod
    def _adds_forwarding(cls, data: Any) -> Any:
        """What is granted or denied by a setting of its own counts among the actions."""
        if not isinstance(data, dict) or not (named := [word for word in FORWARDING if data.get(word)]):
            return data
        actions = data.get("actions", () if data.get("effect") == "deny" else _BY_DEFAULT)
        if not isinstance(actions, list | tuple):
            return data
        return {**data, "actions": [*actions, *(word for word in named if word not in actions)]}

    @model_validator(mode="after")
    def _says_enough(self) -> Self:
        given = self.model_fields_set
        for word, ends in (("forward", self.forward), ("listen", self.listen)):
            if self.effect == "allow" and word in self.actions and not ends:
                raise ValueError(f'say where: {word} = ["localhost:80"]; "*:*" is every host and port')
        of_statements = set(LIMITS) & (self.postgres.model_fields_set if self.postgres is not None else set())
        if self.effect == "deny" and (limits := sorted((given & _LIMITS) | of_statements)):
            raise ValueError(f"a deny rule allows nothing that {limits[0]} could limit")
        if not given & {"groups", "users"}:
            raise ValueError('say whom the rule is for: groups = ["…"] or users = ["…"]; "*" is everybody')
        if self.effect == "allow" and not given & {"targets", "labels"}:
            raise ValueError(
                'say which targets it allows: targets = ["…"] or labels = { … }; "*" is every target'
            )
        if self.effect == "allow" and "logins" not in given:
            raise ValueError(
                'say which logins it allows: logins = ["…"]; "{user}" is the own name, "*" is any'
            )
        return self


class AuditorRule(BaseModel):
    """Who may list, replay and verify other people's sessions, and on which targets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: tuple[Pattern, ...] = Field(
        (), description="Groups of auditors, with wildcards.", examples=[["audit"]]
    )
    users: tuple[Pattern, ...] = Field((), description="Users who are auditors, beside the groups.")
    targets: tuple[Pattern, ...] = Field(
        ("*",), description="Targets whose sessions they may see, with wildcards; by default all."
    )

    @model_validator(mode="after")
    def _says_enough(self) -> Self:
        if not self.model_fields_set & {"groups", "users"}:
            raise ValueError('say who the auditors are: groups = ["…"] or users = ["…"]')
        return self
