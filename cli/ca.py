"""`bastion ca`: show and rotate the certificate authorities."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import click
from cryptography.hazmat.primitives.serialization import Encoding

from bastion.ca.keys import read_certificate
from bastion.ca.lines import install_lines
from bastion.ca.rotation import Rotation, rotate
from bastion.ca.status import KeyStatus, key_status
from bastion.config.model import Config
from bastion.state.ca_keys import AUTHORITY_NAMES, AuthorityName, CaKey
from bastion.state.store import State
from cli.duration import to_duration
from cli.output import Column, clean, json_option, print_json, print_rows
from cli.settings import Settings, pass_settings
from cli.state import moment, operator, with_state

authority_argument = click.argument("authority", type=click.Choice(AUTHORITY_NAMES))


@click.group()
def ca() -> None:
    """Show and rotate the certificate authorities.

    user signs people's certificates, target those of their onward sessions, host the bastion's own, and
    tls what the bastion shows to clients of databases and clusters.
    """


@ca.command("status")
@json_option
@pass_settings
def status(settings: Settings, as_json: bool) -> None:
    """List the keys, which of them sign and are trusted, and until when."""
    folder = settings.config.keys_folder
    statuses = with_state(settings, lambda state: key_status(folder, state, time.time()))
    columns = [
        Column(key="authority", title="AUTHORITY"),
        Column(key="status", title="STATUS"),
        Column(key="trusted_until", title="TRUSTED UNTIL", show=moment),
        Column(key="certificates", title="CERTIFICATES", is_number=True),
        Column(key="created_at", title="SINCE", show=moment),
        Column(key="id", title="ID", is_whole=True),
        Column(key="fingerprint", title="FINGERPRINT", is_whole=True),
    ]
    rows = [_row(status) for status in sorted(statuses, key=lambda status: status.key.authority)]
    print_rows(rows, columns, as_json=as_json, empty="There is no CA key. Make them with: bastion init")


@ca.command("show")
@authority_argument
@pass_settings
def show(settings: Settings, authority: AuthorityName) -> None:
    """Print the lines that make others trust AUTHORITY.

    For target they go into the file that TrustedUserCAKeys of every target's sshd names, for host into everybody's
    known_hosts, for user wherever else people's certificates shall be trusted. For tls it is the certificate that
    clients of targets are given, in PEM; give it to nothing that also speaks with others.
    """
    for line in _lines(with_state(settings, lambda state: _trusted(state, authority)), settings.config):
        click.echo(line)


@ca.command("rotate")
@authority_argument
@click.option(
    "--overlap",
    metavar="DURATION",
    callback=to_duration,
    help="Trust the old key for this long at most (0s: no more from now on).  [default: 30d for target and tls; for"
    " user and host until their certificates under it have expired]",
)
@json_option
@pass_settings
def rotate_command(
    settings: Settings, authority: AuthorityName, overlap: timedelta | None, as_json: bool
) -> None:
    """Replace the key of AUTHORITY by a new one.

    The new key signs at once. The old one is trusted for a while yet, and retires by itself. A running bastion
    notices by itself.
    """
    done = with_state(
        settings,
        lambda state: rotate(
            authority, settings.config.keys_folder, state, time.time, by=operator(), overlap=overlap
        ),
    )
    lines = _lines([done.new], settings.config)
    if as_json:
        print_json({"new": done.new, "old": done.old, "install": lines})
        return
    assert done.old.trusted_until is not None
    click.echo(f"The {authority} CA key {done.new.id} signs from now on, in the place of {done.old.id}.")
    if done.old.is_trusted(time.time()):
        click.echo(f"The old key is trusted until {moment(done.old.trusted_until)}, and retires by itself.")
    else:
        click.echo("The old key is trusted no more.")
    for line in _what_to_do(done):
        click.echo(line, err=True)
    if authority != "user":
        for line in lines:
            click.echo(line)


def _what_to_do(done: Rotation) -> list[str]:
    assert done.old.trusted_until is not None
    end = moment(done.old.trusted_until)
    match done.new.authority:
        case "user":
            return [
                "Nothing else is to be done; people get certificates under the new key when they sign in."
            ]
        case "target":
            return [
                "",
                f"Add this line to the file that TrustedUserCAKeys names, on every target, before {end}.",
                "bastion target check says which targets do not take the new key yet. The old line can go after that.",
                "",
            ]
        case "tls":
            return [
                "",
                f"Clients that know the old certificate go on working until {end}; give them this one before.",
                "",
            ]
        case "host":
            return [
                "",
                f"The bastion shows a certificate under the new key from {end} on.",
                "Until then add this line to known_hosts of everybody who connects; the old one can go after that.",
                "",
            ]


async def _trusted(state: State, authority: AuthorityName) -> list[CaKey]:
    return [key for key in await state.ca_keys.list(authority) if key.is_trusted(time.time())]


def _lines(keys: Sequence[CaKey], config: Config) -> list[str]:
    """What is to be installed for *keys* of one authority."""
    if any(key.authority == "tls" for key in keys):
        certificates = [read_certificate(config.keys_folder, key) for key in keys]
        return [certificate.public_bytes(Encoding.PEM).decode().strip() for certificate in certificates]
    return install_lines(keys, *_place(config))


def _place(config: Config) -> tuple[str, int, list[str]]:
    server = config.server
    names = [target.name for target in config.targets]
    return server.public_name, server.public_port or server.port, names


def _row(status: KeyStatus) -> dict[str, object]:
    key = status.key
    return {
        "authority": key.authority,
        "id": key.id,
        "fingerprint": status.fingerprint,
        "public": clean(key.public),
        "status": key.status if status.is_trusted else "retired",
        "created_at": key.created_at,
        "trusted_until": key.trusted_until,
        "certificates": status.certificates,
    }
