"""The kinds of target: what each needs to be reached, and what the bastion signs in with there.

A kind is one class; `Target` is any of them, told apart by *kind*. Credentials stand in files of their own, never here.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from bastion.config.section import Section
from bastion.config.values import Address, File, Line, Login, Port, Switch, Text
from policy.durations import PositiveDuration

BUILTIN_WORDS = frozenset({
    "bastion", "fetch", "follow", "help", "kubeconfig", "login", "logout", "logs", "menu", "play", "requests", "search",
    "sessions", "targets", "verify", "whoami",
})  # fmt: skip
"""Words that mean a command of ours over SSH, so that no target may have them for its name."""

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")


def _target_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(
            "use lower-case letters, digits, '.', '_' and '-', at most 64 of them, a letter or digit at both ends"
        )
    if value in BUILTIN_WORDS:
        raise ValueError(f"'{value}' is a command of the bastion; choose another name")
    return value


TargetName = Annotated[str, AfterValidator(_target_name)]


def _name(example: str) -> Any:
    return Field(description="What people type to reach it.", examples=[example])


class _Target(Section):
    """What every kind of target has."""

    kind: str = Field("ssh", description="Kind of the target.")
    name: TargetName = _name("web-1")
    description: Line = Field("", description="One line for the picker.", examples=["What it is for"])
    labels: dict[str, str] = Field(
        {}, description="Labels that policy rules can name.", examples=[{"env": "staging", "role": "web"}]
    )
    login: Login | None = Field(
        None,
        description="Login taken when nobody names one; otherwise the first that policy allows.",
        examples=["deploy"],
    )
    connect_timeout: PositiveDuration = Field(
        timedelta(seconds=10), description="How long connecting may take."
    )

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, in words for people."""

    @property
    @abstractmethod
    def private_files(self) -> list[Path]:
        """Files with secrets for it, which nobody but the service may read."""


class SshTarget(_Target):
    """An SSH host behind the bastion."""

    kind: Literal["ssh"] = Field("ssh", description="Kind of the target.")
    address: Address = Field(
        description="Host name or address of its SSH server.", examples=["web-1.internal.example.com"]
    )
    port: Port = Field(22, description="Port of its SSH server.")
    host_keys: tuple[str, ...] = Field(
        (),
        description="Its host keys, as ssh-keyscan prints them without the name (bastion target scan).",
        examples=[["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOg7klRBCQK2ccQwM864ffQ8eRT0upoLiarQ94xuu8HB"]],
    )
    host_ca: tuple[str, ...] = Field(
        (),
        description="Keys of host CAs that sign its host key, instead of or beside host_keys.",
        examples=[["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMfNSAmnVvEZObVy8aJHQj3ikvshbeEq59jk6ZavA5Gm"]],
    )
    key_file: File | None = Field(
        None,
        description="A static private key for it, where it cannot trust the target CA.",
        examples=["/etc/bastion/keys/legacy-1"],
    )
    legacy_algorithms: Switch = Field(
        False,
        description="Whether SHA-1 and small groups will do: for old servers and appliances that know no better.",
    )

    @property
    def place(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def private_files(self) -> list[Path]:
        return [self.key_file] if self.key_file is not None else []


class PostgresAccount(Section):
    """How the bastion signs in to a PostgreSQL server for the sessions of one login."""

    login: Login = Field(
        description="The login that policy rules name, and people choose.", examples=["reader"]
    )
    role: Text | None = Field(
        None, description="The role on the server, where it is called otherwise.", examples=["orders_reader"]
    )
    password_file: File | None = Field(
        None, description="File with the role's password.", examples=["/etc/bastion/orders-reader.password"]
    )
    certificate_file: File | None = Field(
        None, description="Client certificate of the role (PEM).", examples=["/etc/bastion/orders-reader.crt"]
    )
    key_file: File | None = Field(
        None, description="Its private key (PEM).", examples=["/etc/bastion/orders-reader.key"]
    )


class PostgresTarget(_Target):
    """A PostgreSQL server behind the bastion."""

    kind: Literal["postgres"] = Field(description="Kind of the target.", examples=["postgres"])
    name: TargetName = _name("orders-db")
    address: Address = Field(
        description="Host name or address of the server.", examples=["orders-db.internal"]
    )
    port: Port = Field(5432, description="Port of the server.")
    databases: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        description='Databases that people may choose, the first when nobody names one; "*" among them is any.',
        examples=[["orders"]],
    )
    accounts: Annotated[tuple[PostgresAccount, ...], Field(min_length=1)] = Field(
        description="How the bastion signs in, by login.",
        examples=[[{"login": "reader", "password_file": "/etc/bastion/orders-reader.password"}]],
    )
    tls: Literal["verify-full", "verify-ca", "off"] = Field(
        "verify-full",
        description="verify-full: TLS, and the server proves that it is who it is called. verify-ca: any name will do."
        " off: no TLS, for a server on this machine.",
    )
    tls_ca: File | None = Field(
        None,
        description="Certificates of the CAs that sign the server's (PEM); by default those of this machine.",
        examples=["/etc/bastion/orders-db-ca.crt"],
    )
    tls_name: Address | None = Field(
        None,
        description="The name in the server's certificate, where it is not the address.",
        examples=["db-7"],
    )
    allow_md5: Switch = Field(
        False, description="Whether the server may ask for the password hashed with MD5, as old ones do."
    )

    @property
    def default_database(self) -> str:
        """The database taken when nobody names one."""
        return next((name for name in self.databases if name != "*"), "postgres")

    @property
    def place(self) -> str:
        return f"{self.address}:{self.port}"

    @property
    def private_files(self) -> list[Path]:
        files = [file for account in self.accounts for file in (account.password_file, account.key_file)]
        return [file for file in files if file is not None]


class KubernetesTarget(_Target):
    """A Kubernetes cluster behind the bastion."""

    kind: Literal["kubernetes"] = Field(description="Kind of the target.", examples=["kubernetes"])
    name: TargetName = _name("prod-k8s")
    kubeconfig: File | None = Field(
        None,
        description="A kubeconfig with the bastion's own credential for the cluster; without one, the service account"
        " of the pod that the bastion runs in.",
        examples=["/etc/bastion/prod.kubeconfig"],
    )
    context: Text | None = Field(
        None, description="The context in that file, where it is not the current one.", examples=["prod"]
    )
    namespace: Text | None = Field(
        None, description="Namespace taken when nobody names one.", examples=["shop"]
    )
    impersonate_groups: tuple[Text, ...] = Field(
        ("*",),
        description="Which of a person's groups the cluster is told of (Impersonate-Group), with wildcards.",
        examples=[["k8s-*"]],
    )
    exec_plugins: tuple[File, ...] = Field(
        (),
        description="Programs that the kubeconfig may name to get a credential; others are not run.",
        examples=[["/usr/local/bin/aws-iam-authenticator"]],
    )

    @property
    def place(self) -> str:
        if self.kubeconfig is None:
            return "in this cluster"
        return f"{self.kubeconfig.name}, {self.context}" if self.context else self.kubeconfig.name

    @property
    def private_files(self) -> list[Path]:
        return [self.kubeconfig] if self.kubeconfig is not None else []


def _kind_of(value: object) -> object:
    if isinstance(value, Mapping):
        return value.get("kind", "ssh")
    return getattr(value, "kind", None)


Target = Annotated[
    Annotated[SshTarget, Tag("ssh")]
    | Annotated[PostgresTarget, Tag("postgres")]
    | Annotated[KubernetesTarget, Tag("kubernetes")],
    Discriminator(_kind_of),
]
"""Any kind of target."""
