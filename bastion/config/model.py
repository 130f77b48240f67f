"""The settings of a bastion, as frozen objects with their defaults.

One class a section of `bastion.toml`. A field's description is what `bastion.toml.example` prints above it, and a
test compares the two. This module knows shapes and bounds of single values; `load.py` reads the file, turns every
error into a message with its path, and checks what spans several sections.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from policy.rules import AuditorRule, Rule

BUILTIN_WORDS = frozenset(
    "bastion help login logout kubeconfig menu play requests search sessions targets verify whoami follow".split()
)
"""Words that mean a command of ours over SSH, so that no target may have them for its name."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


def parse_duration(value: object) -> timedelta:
    """Read `90s`, `5m`, `8h`, `30d` or a sum such as `1h30m`; a timedelta passes through."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"(\d+[smhd])+", value):
        raise ValueError('write a duration such as "90s", "5m", "8h" or "1h30m"')
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+)([smhd])", value)))


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as *value* (whole seconds)."""
    seconds, text = int(value.total_seconds()), ""
    for unit in "dhms":
        count, seconds = divmod(seconds, _UNITS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _target_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("use lower-case letters, digits, '.', '_' and '-', at most 64 of them")
    if value in BUILTIN_WORDS:
        raise ValueError(f"'{value}' is a command of the bastion; choose another name")
    return value


def _login(value: str) -> str:
    if not _LOGIN.fullmatch(value):
        raise ValueError("use letters, digits, '.', '_' and '-', at most 64 of them")
    return value


def _network(value: str) -> str:
    return str(ipaddress.ip_network(value))


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
TargetName = Annotated[str, AfterValidator(_target_name)]
Login = Annotated[str, AfterValidator(_login)]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Server(Section):
    address: str = Field("", description="Address to listen on; empty means every address of this machine.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(2222, description="Port to listen on; 0 takes a free one.")
    public_name: str = Field(
        "localhost", description="The name people type after ssh; it stands in the host certificate."
    )
    public_port: Port | None = Field(
        None, description="The port people reach the bastion on, where it differs from the one listened on."
    )
    sign_in_timeout: Duration = Field(
        timedelta(seconds=180), description="How long a connection may take to sign in before it is closed."
    )
    drain_timeout: Duration = Field(
        timedelta(seconds=30), description="How long running sessions may go on after the bastion is told to stop."
    )


class Log(Section):
    format: Literal["console", "json"] = Field("console", description="How log lines look: console or json.")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")


class Recording(Section):
    folder: Path | None = Field(
        None, description="Folder of the recordings; by default the folder recordings in data."
    )
    durability: Literal["kernel", "disk"] = Field(
        "kernel",
        description="kernel: written to the file before delivery, survives kill -9. disk: on the disk before delivery,"
        " survives a power cut, and costs a sync a batch.",
    )


class Certificates(Section):
    lifetime: Duration = Field(
        timedelta(hours=8), description="How long a sign-in and its certificate last (at most 12h)."
    )
    onward_lifetime: Duration = Field(
        timedelta(minutes=5), description="How long the certificate of one onward session can open a connection."
    )
    host_lifetime: Duration = Field(
        timedelta(days=30), description="How long a host certificate of the bastion lasts; renewed by itself."
    )


class Issuer(Section):
    """An OIDC provider that people sign in with."""

    alias: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,15}$")] = Field(
        description="Short name of the provider; it stands in the key id of certificates."
    )
    issuer: str = Field(description="The issuer URL, exactly as the provider writes it in its tokens.")
    client_id: str = Field(description="The client id registered for this bastion (a public, native client).")
    client_secret_file: Path | None = Field(
        None, description="File with the client secret, for providers that insist on one."
    )
    scopes: tuple[str, ...] = Field(
        ("openid", "profile", "email", "groups"), description="Scopes asked for at sign-in."
    )
    user_claim: str = Field(
        "preferred_username", description="Claim that becomes the user name (an e-mail only if it is verified)."
    )
    groups_claim: str = Field("groups", description="Claim with the list of groups that policy rules name.")
    algorithms: tuple[Literal["RS256", "PS256", "ES256", "ES384", "EdDSA"], ...] = Field(
        ("RS256", "ES256", "EdDSA"), description="Signature algorithms accepted on ID tokens."
    )
    device_flow: bool = Field(True, description="Whether people may sign in by a code shown in the terminal.")
    device_flow_from: tuple[Network, ...] = Field(
        (), description="Networks from which the code may be used; empty means from anywhere."
    )


class DevelopmentPerson(Section):
    user: str = Field(description="User name, as in preferred_username.")
    name: str = Field("", description="Full name, shown on the sign-in page.")
    groups: tuple[str, ...] = Field((), description="Groups in the ID token.")


class DevelopmentIssuer(Section):
    """A sign-in page for demos and tests that asks for no password. Never for real use: it binds to loopback."""

    port: Annotated[int, Field(ge=0, le=65535)] = Field(9400, description="Port on 127.0.0.1.")
    people: tuple[DevelopmentPerson, ...] = Field((), description="Who can sign in.")


class SshTarget(Section):
    """An SSH host behind the bastion."""

    kind: Literal["ssh"] = Field("ssh", description="Kind of the target.")
    name: TargetName = Field(description="What people type to reach it.")
    description: str = Field("", description="One line for the picker.")
    labels: dict[str, str] = Field({}, description="Labels that policy rules can name.")
    address: str = Field(description="Host name or address of its SSH server.")
    port: Port = Field(22, description="Port of its SSH server.")
    login: Login | None = Field(
        None, description="Login taken when nobody names one; otherwise the first that policy allows."
    )
    host_keys: tuple[str, ...] = Field(
        (), description="Its host keys, as ssh-keyscan prints them without the name (bastion target scan)."
    )
    host_ca: tuple[str, ...] = Field((), description="Keys of host CAs that sign its host key.")
    key_file: Path | None = Field(
        None, description="A static private key for it, where it cannot trust the target CA."
    )
    connect_timeout: Duration = Field(timedelta(seconds=10), description="How long connecting may take.")


Target = SshTarget
"""Any kind of target. With the second kind this becomes a union told apart by *kind*."""


class Policy(Section):
    rules: tuple[Rule, ...] = Field((), description="Who may reach what; nothing is allowed without a rule.")
    auditors: tuple[AuditorRule, ...] = Field((), description="Who may see other people's recordings.")


class Config(Section):
    """A whole bastion.toml."""

    data: Path = Field(
        Path("/var/lib/bastion"), description="Folder of state, keys and recordings; only the service may read it."
    )
    server: Server = Field(Server(), description="Where the bastion listens.")
    log: Log = Field(Log(), description="Logging.")
    recording: Recording = Field(Recording(), description="Recordings.")
    certificates: Certificates = Field(Certificates(), description="Lifetimes of certificates.")
    issuers: tuple[Issuer, ...] = Field((), description="OIDC providers; the first is the one people sign in with.")
    development_issuer: DevelopmentIssuer | None = Field(
        None, description="An embedded issuer for demos and tests (never for real use)."
    )
    targets: tuple[Target, ...] = Field((), description="What can be reached; more stand in targets.d/*.toml.")
    policy: Policy = Field(Policy(), description="Access rules.")

    @property
    def state_file(self) -> Path:
        return self.data / "state.db"

    @property
    def keys_folder(self) -> Path:
        return self.data / "keys"

    @property
    def recordings_folder(self) -> Path:
        return self.recording.folder or self.data / "recordings"

    def target(self, name: str) -> Target | None:
        """The target of that name, or None."""
        return next((t for t in self.targets if t.name == name), None)

    def model_dump_toml(self) -> dict[str, Any]:
        """The settings as plain values that TOML can hold, without those that are unset."""
        return self.model_dump(mode="json", exclude_none=True)
