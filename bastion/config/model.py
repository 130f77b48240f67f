"""The settings of a bastion, as frozen objects with their defaults.

One class a section of `bastion.toml`. A field's description is what `bastion.toml.example` prints above it, its
example what stands there where the default says nothing; a test compares the two. This module knows shapes and
bounds of single values; `load.py` reads the file, and `crosscheck.py` knows what spans several sections.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bastion.config.retention import Retention
from bastion.config.section import Section
from bastion.config.targets import Target
from bastion.config.values import (
    EXAMPLE_RECIPIENT,
    Address,
    Alias,
    File,
    HostLifetime,
    IssuerUrl,
    Line,
    ListenAddress,
    ListenPort,
    Network,
    OnwardLifetime,
    Port,
    Recipient,
    SignInLifetime,
    Switch,
    Text,
)
from policy.durations import Duration, PositiveDuration
from policy.rules import AuditorRule, Rule

_KIND_OF_SECRET = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")


def _scopes(value: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in value:
        raise ValueError("'openid' must be among them; without it the provider sends no ID token")
    return value


def _expressions(value: dict[str, str]) -> dict[str, str]:
    for kind, expression in value.items():
        if not _KIND_OF_SECRET.fullmatch(kind):
            raise ValueError(f"'{kind}' cannot stand in a mark; use lower-case letters, digits and '-'")
        try:
            does_match_nothing = re.compile(expression).match("") is not None
        except re.error as error:
            raise ValueError(f"'{kind}' is not a regular expression: {error}") from None
        if does_match_nothing:
            raise ValueError(f"'{kind}' matches the empty text; let it ask for at least one character")
    return value


class Server(Section):
    address: ListenAddress = Field(
        "", description="Address to listen on; empty means every address of this machine."
    )
    port: ListenPort = Field(2222, description="Port to listen on; 0 takes a free one.")
    public_name: Address = Field(
        "localhost", description="The name people type after ssh; it stands in the host certificate."
    )
    public_port: Port | None = Field(
        None,
        description="The port people reach the bastion on, where it differs from the one listened on.",
        examples=[22],
    )
    sign_in_timeout: PositiveDuration = Field(
        timedelta(seconds=180), description="How long a connection may take to sign in before it is closed."
    )
    post_quantum_only: Switch = Field(
        False,
        description="Refuse clients that exchange keys in a way which quantum computers may undo later. With false such"
        " an exchange is preferred, and clients that know none still get in.",
    )
    penalty_exempt: tuple[Network, ...] = Field(
        ("127.0.0.0/8", "::1/128"),
        description="Networks whose failed sign-ins are not counted; others are turned away for a while after many.",
    )
    proxy_protocol_from: tuple[Network, ...] = Field(
        (),
        description="Addresses of load balancers that say with the PROXY protocol (v1 or v2) whom they speak for."
        " They must then; from everywhere else it is refused.",
        examples=[["10.0.0.1"]],
    )
    drain_timeout: Duration = Field(
        timedelta(seconds=30),
        description="How long running sessions may go on after the bastion is told to stop.",
    )


class Log(Section):
    format: Literal["console", "json"] = Field("console", description="How log lines look: console or json.")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged: debug, info, warning or error."
    )


class Recording(Section):
    folder: File | None = Field(
        None,
        description="Folder of the recordings; by default the folder recordings in data.",
        examples=["/var/lib/bastion/recordings"],
    )
    durability: Literal["kernel", "disk"] = Field(
        "kernel",
        description="kernel: written to the file before delivery, survives kill -9. disk: on the disk before delivery,"
        " survives a power cut, and costs a sync a batch.",
    )
    input: Literal["masked", "all", "none"] = Field(
        "masked",
        description="What is kept of what people type. masked: what the terminal echoed, so no passwords; the rest is"
        " only counted. all: every key. none: only how many. Without a terminal masked keeps all: it is data.",
    )
    redact: Switch = Field(
        False,
        description="Take keys, tokens and card numbers out of the streams before they are written. The recording is"
        " no longer exact then; bastion export --redact does it later and finds more.",
    )
    secrets: Annotated[dict[str, str], AfterValidator(_expressions)] = Field(
        {},
        description="More secrets to redact: a word for the mark, and a regular expression (of its group, if it has"
        " one). It should be quick on any text.",
        examples=[{"corp-token": "corp_[a-z0-9]{32}"}],
    )
    result_rows: Annotated[int, Field(ge=0)] = Field(
        1000,
        description="Rows that the recording shows of each result that a person's own database client gets; of the"
        " others it keeps number, size and SHA-256.",
    )
    result_bytes: Annotated[int, Field(ge=0)] = Field(
        1_000_000, description="The same, as bytes: no more rows are shown of a result that is larger."
    )
    copy_bytes: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Bytes of each COPY of a person's own database client, in or out, that the recording keeps and"
        " shows; it then has the SHA-256 of all of them too. With 0 it has their number alone.",
    )
    file_contents: bool = Field(
        False,
        description="Keep the contents of files that go by SFTP, scp, rsync; else a manifest of them: operation, path,"
        " size, SHA-256 and result.",
    )
    forwarded_contents: Switch = Field(
        False,
        description="Keep the contents of forwarded connections, each in a recording of its own; else where to, when"
        " and how much.",
    )
    request_bodies: Switch = Field(
        False,
        description="Keep what kubectl sends to create, update or patch something, but never of Secrets; else only how"
        " much it was.",
    )
    search: bool = Field(
        True,
        description="Keep the text of sessions in an index beside the recordings, for bastion search. With false no"
        " such text is kept, and what there was is deleted at the next start.",
    )
    encrypt_to: tuple[Recipient, ...] = Field(
        (),
        description="Encrypt each recording with age once it is sealed, to these public keys of auditors (age1…,"
        " ssh-ed25519 or ssh-rsa). The bastion cannot read it any more then, and nobody can who has none of the keys.",
        examples=[[EXAMPLE_RECIPIENT]],
    )
    search_encrypted: Switch = Field(
        False,
        description="Keep the text of encrypted recordings in the search index all the same, where it is in the clear.",
    )
    retention: Retention = Field(Retention(), description="When recordings are removed.")


class Sessions(Section):
    """Limits of every session; a rule may narrow them for those it lets in."""

    idle_timeout: PositiveDuration | None = Field(
        None, description="End a session in which nothing happened for so long.", examples=["30m"]
    )
    max_duration: PositiveDuration | None = Field(
        None, description="End a session after so long, whatever happens in it.", examples=["12h"]
    )
    warning: Duration = Field(
        timedelta(minutes=1), description="How long before such an end the person is told of it."
    )


class Certificates(Section):
    lifetime: SignInLifetime = Field(
        timedelta(hours=8), description="How long a sign-in and its certificate last (at most 12h)."
    )
    onward_lifetime: OnwardLifetime = Field(
        timedelta(minutes=5),
        description="How long the certificate of one onward session can open a connection (at most 1h).",
    )
    host_lifetime: HostLifetime = Field(
        timedelta(days=30),
        description="How long a host certificate of the bastion lasts (1h to 366d); renewed by itself.",
    )


class Issuer(Section):
    """An OIDC provider that people sign in with."""

    alias: Alias = Field(
        description="Short name of the provider; it stands in the key id of certificates.", examples=["corp"]
    )
    issuer: IssuerUrl = Field(
        description="The issuer URL, exactly as the provider writes it in its tokens.",
        examples=["https://login.example.com"],
    )
    client_id: Text = Field(
        description="The client id registered for this bastion (a public, native client).",
        examples=["bastion"],
    )
    client_secret_file: File | None = Field(
        None,
        description="File with the client secret, for providers that insist on one.",
        examples=["/etc/bastion/corp.secret"],
    )
    scopes: Annotated[tuple[str, ...], AfterValidator(_scopes)] = Field(
        ("openid", "profile", "email", "groups"), description="Scopes asked for at sign-in."
    )
    user_claim: Text = Field(
        "preferred_username",
        description="Claim that becomes the user name (an e-mail only if it is verified).",
    )
    groups_claim: Text = Field("groups", description="Claim with the list of groups that policy rules name.")
    algorithms: Annotated[
        tuple[Literal["RS256", "PS256", "ES256", "ES384", "EdDSA"], ...], Field(min_length=1)
    ] = Field(
        ("RS256", "ES256", "EdDSA"),
        description="Signature algorithms accepted on ID tokens, of RS256, PS256, ES256, ES384 and EdDSA.",
    )
    device_flow: Switch = Field(
        True, description="Whether people may sign in by a code shown in the terminal."
    )
    device_flow_from: tuple[Network, ...] = Field(
        (),
        description="Networks from which the code may be used; empty means from anywhere.",
        examples=[["10.0.0.0/8", "fd00::/8"]],
    )


class DevelopmentPerson(Section):
    user: Text = Field(description="User name, as in preferred_username.", examples=["alice"])
    name: Line = Field("", description="Full name, shown on the sign-in page.", examples=["Alice Example"])
    groups: tuple[str, ...] = Field((), description="Groups in the ID token.", examples=[["developers"]])


class DevelopmentIssuer(Section):
    """A sign-in page for demos and tests that asks for no password. Never for real use: it binds to loopback."""

    port: ListenPort = Field(9400, description="Port on 127.0.0.1.")
    people: tuple[DevelopmentPerson, ...] = Field((), description="Who can sign in.")


class Policy(Section):
    rules: tuple[Rule, ...] = Field((), description="Who may reach what; nothing is allowed without a rule.")
    auditors: tuple[AuditorRule, ...] = Field((), description="Who may see other people's recordings.")


class Config(Section):
    """A whole bastion.toml."""

    data: File = Field(
        Path("/var/lib/bastion"),
        description="Folder of state, keys and recordings; only the service may read it.",
    )
    server: Server = Field(Server(), description="Where the bastion listens.")
    log: Log = Field(Log(), description="Logging.")
    recording: Recording = Field(Recording(), description="Recordings.")
    sessions: Sessions = Field(Sessions(), description="Limits of sessions.")
    certificates: Certificates = Field(Certificates(), description="Lifetimes of certificates.")
    issuers: tuple[Issuer, ...] = Field(
        (), description="OIDC providers; the first is the one people sign in with."
    )
    development_issuer: DevelopmentIssuer | None = Field(
        None,
        description="An issuer inside the bastion, on 127.0.0.1, for demos and tests: it asks for no password.",
    )
    targets: tuple[Target, ...] = Field(
        (), description="What can be reached; more stand in targets.d/*.toml."
    )
    policy: Policy = Field(Policy(), description="Access rules.")

    @property
    def state_file(self) -> Path:
        return self.data / "state.db"

    @property
    def run_folder(self) -> Path:
        """Sockets of sessions that run; nothing in it outlives them."""
        return self.data / "run"

    @property
    def keys_folder(self) -> Path:
        return self.data / "keys"

    @property
    def recorder_key_file(self) -> Path:
        return self.keys_folder / "recorder-key"

    @property
    def recordings_folder(self) -> Path:
        return self.recording.folder or self.data / "recordings"

    def target(self, name: str) -> Target | None:
        """The target of that name, or None."""
        return next((t for t in self.targets if t.name == name), None)
