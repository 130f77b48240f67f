"""`bastion target add`, `add-postgres` and `add-kubernetes`: write a target, and say what must stand on its side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import click
from pydantic import ValidationError

from bastion.config.section import Section
from bastion.config.targets import KubernetesTarget, PostgresTarget, SshTarget, Target
from bastion.config.write import write_target
from bastion.errors import ConfigError
from bastion.ops.database_setup import new_password, scram_verifier, setup_statements
from bastion.ops.targets import HostKey, scan, setup_lines
from bastion.runtime.files import create_file
from bastion.sessions.admission import facts_of
from bastion.state.store import State
from cli.settings import Settings, pass_settings
from cli.state import operator, with_state
from policy.match import names_target

Kind = TypeVar("Kind", bound=Section)
Function = TypeVar("Function", bound=Callable[..., object])

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True)


def _described(command: Function) -> Function:
    """The options that targets of every kind have."""
    label = click.option(
        "--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label that rules can name."
    )
    return click.option("--description", default="", help="One line for the picker.")(label(command))


@click.command("add")
@click.argument("name")
@click.argument("address")
@click.option("--port", type=click.IntRange(1, 65535), default=22, show_default=True)
@_described
@click.option("--login", help="Login taken when nobody names one.")
@click.option(
    "--host-key", "host_keys", multiple=True, metavar="KEY", help="A host key, as ssh-keyscan prints it."
)
@click.option("--host-ca", "host_ca", multiple=True, metavar="KEY", help="A CA that signs its host key.")
@click.option(
    "--fingerprint", metavar="SHA256:…", help="Take the scanned host key if it has this fingerprint."
)
@click.option(
    "--key-file", type=_FILE, help="A private key to sign in with, where it cannot trust the target CA."
)
@click.option("--legacy-algorithms", is_flag=True, help="It is old: SHA-1 and small groups will do for it.")
@pass_settings
def add(
    settings: Settings,
    name: str,
    address: str,
    port: int,
    description: str,
    labels: Sequence[str],
    login: str | None,
    host_keys: Sequence[str],
    host_ca: Sequence[str],
    fingerprint: str | None,
    key_file: Path | None,
    legacy_algorithms: bool,
) -> None:
    """Add the SSH host ADDRESS as the target NAME.

    Without --host-key or --host-ca its host keys are scanned and shown, and you confirm them.
    """
    _require_new(settings, name)
    if not host_keys and not host_ca:
        host_keys = _confirmed(asyncio.run(scan(address, port)), name, fingerprint)
    new = _made(
        SshTarget,
        name=name,
        address=address,
        port=port,
        description=description,
        labels=_labels(labels),
        login=login,
        host_keys=tuple(host_keys),
        host_ca=tuple(host_ca),
        key_file=key_file,
        legacy_algorithms=legacy_algorithms,
    )
    trusted = _add(settings, new)
    click.echo("To let the bastion in, run this on the target as root:\n", err=True)
    click.echo(setup_lines(new, trusted))
    _say_what_follows(settings, new)


@click.command("add-postgres")
@click.argument("name")
@click.argument("address")
@click.option("--port", type=click.IntRange(1, 65535), default=5432, show_default=True)
@_described
@click.option(
    "--database",
    "databases",
    multiple=True,
    required=True,
    help="One that people may choose; the first by default.",
)
@click.option("--login", required=True, help="What people call the account, and rules name.")
@click.option("--role", help="What the server calls it, where that is something else.")
@click.option("--password-file", type=_FILE, help="A file with its password; else the bastion makes one.")
@click.option("--certificate-file", type=_FILE, help="Or its client certificate (PEM),")
@click.option("--key-file", type=_FILE, help="and the private key of that.")
@click.option(
    "--tls", type=click.Choice(["verify-full", "verify-ca", "off"]), default="verify-full", show_default=True
)
@click.option(
    "--tls-ca", type=_FILE, help="Who signs the server's certificate (PEM); else the CAs of this machine."
)
@click.option("--tls-name", help="The name in that certificate, where it is not ADDRESS.")
@pass_settings
def add_postgres(
    settings: Settings,
    name: str,
    address: str,
    port: int,
    description: str,
    labels: Sequence[str],
    databases: Sequence[str],
    login: str,
    role: str | None,
    password_file: Path | None,
    certificate_file: Path | None,
    key_file: Path | None,
    tls: str,
    tls_ca: Path | None,
    tls_name: str | None,
) -> None:
    """Add the PostgreSQL server ADDRESS as the target NAME, with one account.

    Without --password-file or --certificate-file the bastion makes a password that nobody sees, and prints the SQL
    by which the server knows it. More accounts are written into the file of the target.
    """
    _require_new(settings, name)
    made = None
    if password_file is None and certificate_file is None:
        made = password_file = settings.config.keys_folder.absolute() / f"postgres-{name}-{login}.password"
    account = {
        "login": login, "role": role, "password_file": password_file,
        "certificate_file": certificate_file, "key_file": key_file,
    }  # fmt: skip
    new = _made(
        PostgresTarget,
        kind="postgres",
        name=name,
        address=address,
        port=port,
        description=description,
        labels=_labels(labels),
        databases=tuple(databases),
        accounts=[account],
        tls=tls,
        tls_ca=tls_ca,
        tls_name=tls_name,
    )
    with nullcontext("") if made is None else _new_password(made) as verifier:
        _add(settings, new)
    click.echo("To let the bastion in, run this on the server, in psql as a superuser:\n", err=True)
    click.echo(setup_statements(new, new.accounts[0], verifier))
    _say_what_follows(settings, new)


@click.command("add-kubernetes")
@click.argument("name")
@_described
@click.option(
    "--kubeconfig", type=_FILE, help="One with the bastion's own credential; else its pod's service account."
)
@click.option("--context", help="The context in it, where it is not the current one.")
@click.option("--namespace", help="Namespace taken when nobody names one.")
@click.option(
    "--group", "groups", multiple=True, help="A group of people that the cluster is told of; wildcards do."
)
@pass_settings
def add_kubernetes(
    settings: Settings,
    name: str,
    description: str,
    labels: Sequence[str],
    kubeconfig: Path | None,
    context: str | None,
    namespace: str | None,
    groups: Sequence[str],
) -> None:
    """Add a Kubernetes cluster as the target NAME.

    Without --group the cluster is told of all groups that a person is in.
    """
    _require_new(settings, name)
    new = _made(
        KubernetesTarget,
        kind="kubernetes",
        name=name,
        description=description,
        labels=_labels(labels),
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        impersonate_groups=tuple(groups) or ("*",),
    )
    _add(settings, new)
    click.echo("To let the bastion in, as an administrator of the cluster:\n", err=True)
    click.echo(f"bastion target manifest {new.name} | kubectl apply -f -")
    _say_what_follows(settings, new)


def _require_new(settings: Settings, name: str) -> None:
    if settings.config.target(name) is not None:
        raise ConfigError(f"there is a target {name} already", hint="See: bastion target list")


def _made(kind: type[Kind], /, **values: object) -> Kind:
    """A target of that *kind*; ConfigError with the first thing that is wrong with *values*."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
        raise ConfigError(f"{values['name']} cannot be added: {problem}") from error


@contextmanager
def _new_password(file: Path) -> Iterator[str]:
    """The verifier of a new password in *file*, which is taken away again if something fails."""
    password = new_password()
    try:
        create_file(file, f"{password}\n".encode())
    except FileExistsError as error:
        hint = "Remove it, or go on with it: --password-file"
        raise ConfigError(f"there is a password already: {file}", hint=hint) from error
    try:
        yield scram_verifier(password)
    except BaseException:
        file.unlink()
        raise


def _add(settings: Settings, new: Target) -> list[str]:
    """Write the target and note it in the audit trail; returns the lines of the target CA."""
    file = write_target(settings.path, new)
    click.echo(f"Wrote {file}.", err=True)
    return with_state(settings, lambda state: _noted(state, new))


async def _noted(state: State, new: Target) -> list[str]:
    # The running server notices that the state changed, and reads the configuration again.
    await state.audit.record("target.added", user=operator(), target=new.name, address=new.place)
    return [key.public for key in await state.ca_keys.list("target") if key.is_trusted(time.time())]


def _say_what_follows(settings: Settings, new: Target) -> None:
    click.echo(f"\nThen: bastion target check {new.name}", err=True)
    rules = settings.config.policy.rules
    if not any(rule.effect == "allow" and names_target(rule, facts_of(new)) for rule in rules):
        click.echo(
            f"No rule lets anybody in there yet: add one for {new.name} to [[policy.rules]].", err=True
        )


def _confirmed(keys: Sequence[HostKey], name: str, fingerprint: str | None) -> list[str]:
    """The scanned keys a person vouches for, by --fingerprint or at the prompt."""
    if fingerprint is not None:
        if not (right := [key.line for key in keys if key.fingerprint == fingerprint]):
            shown = ", ".join(key.fingerprint for key in keys)
            raise ConfigError(f"{name} shows no host key with that fingerprint, but {shown}")
        return right
    for key in keys:
        click.echo(f"{key.line.split()[0]:22} {key.fingerprint}", err=True)
    click.confirm(f"Are these the host keys of {name}?", abort=True, err=True)
    return [key.line for key in keys]


def _labels(pairs: Sequence[str]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--label {pair!r} is not KEY=VALUE")
        labels[key] = value
    return labels
