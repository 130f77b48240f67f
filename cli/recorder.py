"""`bastion recorder`: the keys that recordings are signed with, and those they are encrypted to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import click
from rich.filesize import decimal

from bastion.config.model import Config
from bastion.ops.encryption import Tried, encrypt_plain, encryptable, encryptor_of
from bastion.state.store import State
from cli.output import Column, clean, counted, json_option, print_json, print_rows
from cli.sessions import open_index
from cli.settings import Settings, pass_settings
from cli.state import moment, operator, with_state
from recorder.catalog import SessionRow
from recorder.index import Index
from recorder.key_rotation import KeyRotation, rotate
from recorder.keys import SigningKey, published_keys


@click.group()
def recorder() -> None:
    """Show and rotate the key that signs recordings; encrypt those that are plain."""


@recorder.command("keys")
@json_option
@pass_settings
def keys(settings: Settings, as_json: bool) -> None:
    """List the recorder's public keys: the one that signs now, and those that did."""
    file = settings.config.recorder_key_file
    present = SigningKey.load(file).id
    rows = [
        {
            "id": key.id,
            "status": "signs" if key.id == present else "retired",
            "retired_at": key.retired_at,
            "public": key.pem().decode(),
        }
        for key in published_keys(file)
    ]
    rows.sort(key=lambda row: row["status"] != "signs")
    columns = [
        Column(key="id", title="ID", is_whole=True),
        Column(key="status", title="STATUS"),
        Column(key="retired_at", title="HOLDS UNTIL", show=moment),
    ]
    print_rows(rows, columns, as_json=as_json, empty="There is no key. Make one with: bastion init")


@recorder.command("rotate")
@json_option
@pass_settings
def rotate_command(settings: Settings, as_json: bool) -> None:
    """Replace the key that signs recordings by a new one.

    The old private key is destroyed; its public half stays, so that what it signed still verifies, and gets a date two
    hours ahead: what is signed with it later does not. A running bastion takes the new key at once, also for the
    sessions that run.
    """
    file = settings.config.recorder_key_file.name
    done = with_state(settings, lambda state: _rotate(settings.config, state))
    if as_json:
        print_json({"new": done.new.id, "old": done.old.id, "public": done.new.pem().decode()})
        return
    click.echo(f"The recorder's key {done.new.id} signs from now on, in the place of {done.old.id}.")
    click.echo(
        f"Give whoever verifies recordings {file}-{done.old.id}.pub anew, which has its date now, and this:",
        err=True,
    )
    click.echo(done.new.pem().decode(), nl=False)


async def _rotate(config: Config, state: State) -> KeyRotation:
    done = rotate(config.recorder_key_file)
    # The running server looks for a new key when it sees that the state has changed.
    await state.audit.record("recorder-key.rotated", user=operator(), new=done.new.id, old=done.old.id)
    return done


@recorder.command("encrypt")
@click.argument("named", metavar="[ID]...", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="All recordings that are sealed and plain.")
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@json_option
@pass_settings
def encrypt(settings: Settings, named: tuple[str, ...], is_all: bool, is_sure: bool, as_json: bool) -> int:
    """Encrypt recordings that are plain to the keys in encrypt_to.

    The server does that itself with what it records while encrypt_to is set; this is for what was recorded before.
    There is no way back but with the private half of one of the keys. Exits with 1 if some are still plain.
    """
    if bool(named) == is_all:
        raise click.UsageError("Name recordings by id, or say --all.")
    recipients = encryptor_of(settings.config).recipients
    rows = encryptable(asyncio.run(_rows(settings, named)))
    if not as_json:
        click.echo(
            "\n".join(["Whoever reads them then needs the private half of one of these:", *recipients.names])
        )
    if rows and not is_sure:
        size = decimal(sum(row.path.stat().st_size for row in rows))
        click.confirm(f"Encrypt {counted(len(rows))}, {size}, for good?", abort=True, err=True)
    tried = with_state(settings, lambda state: _encrypt(settings.config, state, rows))
    failed = [one for one in tried if one.problem]
    if as_json:
        print_json(
            [{"session": one.row.id, "recording": one.row.path, "problem": one.problem} for one in tried]
        )
        return 1 if failed else 0
    for one in failed:
        click.echo(f"{one.row.id} stays plain: {clean(one.problem)}", err=True)
    click.echo(f"Encrypted {counted(len(tried) - len(failed))}.")
    return 1 if failed else 0


async def _rows(settings: Settings, named: Sequence[str]) -> list[SessionRow]:
    index = await open_index(settings.config.recordings_folder)
    try:
        return [await index.find(text) for text in named] if named else await index.list()
    finally:
        await index.close()


async def _encrypt(config: Config, state: State, rows: Sequence[SessionRow]) -> list[Tried]:
    index = await Index.open(config.recordings_folder)
    try:
        tried = [one async for one in encrypt_plain(config, index, rows, now=time.time)]
    finally:
        await index.close()
    for one in tried:
        if not one.problem:
            await state.audit.record(
                "recording.encrypted", user=one.row.user, session=one.row.id, by=operator()
            )
    return tried
