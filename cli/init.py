"""`bastion init`: a configuration and keys, by questions or by options."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import click
from pydantic import AfterValidator, TypeAdapter, ValidationError

from bastion.config.values import Address, Alias, IssuerUrl, ListenAddress, Port, Text
from bastion.ops.init import Answers, IssuerAnswers, Outcome, Unit, initialise
from bastion.runtime.logs import configure_logs
from cli.output import clean
from cli.settings import Settings, pass_settings

SYSTEM_UNIT = "/etc/systemd/system/bastion.service"


def _port(text: str) -> str:
    if not text.isascii() or not text.isdigit():
        raise ValueError("write a number")
    return str(TypeAdapter(Port).validate_python(int(text)))


PortText = Annotated[str, AfterValidator(_port)]
OptionalIssuerUrl = Annotated[
    str, AfterValidator(lambda text: text and TypeAdapter(IssuerUrl).validate_python(text))
]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), help="Folder of state, keys and recordings.")
@click.option("--public-name", metavar="NAME", help="The name people type after ssh.")
@click.option("--address", help="Address to listen on; by default every one.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--issuer", metavar="URL", help="The OpenID Connect provider people sign in with.")
@click.option("--client-id", metavar="ID", help="The client id of this bastion at the provider.")
@click.option("--issuer-alias", metavar="ALIAS", help="Short name of the provider, for certificates.")
@click.option("--admin-group", metavar="GROUP", help="Group that may reach, and replay, everything.")
@click.option(
    "--systemd",
    is_flag=False,
    flag_value=SYSTEM_UNIT,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="[FILE]",
    help=f"Write a systemd unit.  [default of FILE: {SYSTEM_UNIT}]",
)
@click.option("--non-interactive", is_flag=True, help="Ask nothing; take defaults for what is not given.")
@pass_settings
def init(
    settings: Settings,
    data: Path | None,
    public_name: str | None,
    address: str | None,
    port: int | None,
    issuer: str | None,
    client_id: str | None,
    issuer_alias: str | None,
    admin_group: str | None,
    systemd: Path | None,
    non_interactive: bool,
) -> None:
    """Write a configuration and keys.

    Whatever is there already is kept. With a configuration in place it makes only the keys that are missing.
    """
    file = _config_file(settings)
    answers = None
    if not file.exists():
        click.echo(f"Writing {clean(str(file))}.", err=True)
        asks = not non_interactive and sys.stdin.isatty()
        answers = Answers(
            data=Path(
                _answer("Folder of state, keys and recordings", _text(data), _data_folder(), Text, asks=asks)
            ),
            public_name=_answer(
                "Name people type after ssh", public_name, socket.gethostname(), Address, asks=asks
            ),
            port=int(_answer("Port", _text(port), "2222", PortText, asks=asks)),
            address=_answer(
                "Address to listen on; empty is every one", address, "", ListenAddress, asks=asks
            ),
            issuer=_issuer(issuer, client_id, issuer_alias, asks=asks),
            administrators=_answer(
                "Group that may reach everything; empty is none yet", admin_group, "", str, asks=asks
            ),
        )
    unit = Unit(file=systemd.absolute(), program=_program()) if systemd is not None else None
    configure_logs(level="warning")
    _print(asyncio.run(initialise(file, answers, now=time.time, unit=unit)))


def _answer(question: str, given: str | None, default: str, kind: Any, *, asks: bool) -> str:
    """What an option says, or the person, asked until it is right, or the default."""
    if given is not None or not asks:
        return default if given is None else given

    def right(text: str) -> str:
        try:
            return str(TypeAdapter(kind).validate_python(text))
        except ValidationError as error:
            raise click.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error

    return str(
        click.prompt(question, default=default, show_default=bool(default), value_proc=right, err=True)
    )


def _issuer(url: str | None, client_id: str | None, alias: str | None, *, asks: bool) -> IssuerAnswers | None:
    url = _answer(
        "Issuer URL of the identity provider; empty is none yet", url, "", OptionalIssuerUrl, asks=asks
    )
    if not url:
        return None
    return IssuerAnswers(
        issuer=url,
        client_id=_answer("Client id of this bastion there", client_id, "bastion", Text, asks=asks),
        alias=_answer("Short name of the provider", alias, "corp", Alias, asks=asks),
    )


def _config_file(settings: Settings) -> Path:
    """The file of --config, else one that is there, else where one belongs."""
    if settings.named is not None:
        return settings.named
    found = [file for file in settings.searched if file.is_file()]
    return found[0] if found else settings.searched[-1 if os.geteuid() == 0 else 0]


def _data_folder() -> str:
    return "/var/lib/bastion" if os.geteuid() == 0 else "data"


def _program() -> Path:
    """The command we were started by, as a unit has to name it."""
    found = shutil.which(sys.argv[0])
    return Path(found or sys.argv[0]).absolute()


def _text(value: Path | int | None) -> str | None:
    return None if value is None else str(value)


def _print(outcome: Outcome) -> None:
    for path in outcome.made:
        click.echo(f"made  {clean(str(path))}")
    for path in outcome.kept:
        click.echo(f"kept  {clean(str(path))}")
    for number, step in enumerate(outcome.steps, start=1):
        click.echo(f"\n{number}. {clean(step.title)}:\n")
        for line in step.lines:
            click.echo(f"    {clean(line)}")
