"""`bastion recorder`: the keys that recordings are signed with."""

from __future__ import annotations

import click

from bastion.config.model import Config
from bastion.state.store import State
from cli.output import Column, json_option, print_json, print_rows
from cli.settings import Settings, pass_settings
from cli.state import moment, operator, with_state
from recorder.key_rotation import KeyRotation, rotate
from recorder.keys import SigningKey, published_keys


@click.group()
def recorder() -> None:
    """Show and rotate the key that signs recordings."""


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
