"""`bastion login`: sign in, and have a key and a certificate that stock ssh uses.

The flow and its words. The SSH conversation is in `login_client`, host keys in `login_host_key`, files and the
agent in `login_files`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import click

from cli.login_client import Credential, connected, sign_in_by_browser, sign_in_by_code
from cli.login_files import Stored, add_to_agent, config_block, store, write_config
from cli.login_place import Place, choose_place, config_folder, read_remembered, remember
from cli.output import clean, json_option, print_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """How a person can sign in from where they sit."""

    by_code: bool
    opens_browser: bool


@click.command()
@click.argument("bastion", required=False, metavar="[[USER@]HOST[:PORT]]")
@click.option("--no-browser", is_flag=True, help="Print the address to open, and open nothing.")
@click.option("--device", is_flag=True, help="Sign in by a code, in the browser of any machine.")
@click.option(
    "--accept-host-key", metavar="FINGERPRINT", help="Accept this host key (SHA256:…) without asking."
)
@click.option("--alias", metavar="NAME", help="What ssh shall call the bastion.  [default: bastion]")
@click.option("--write-config", "writes_config", is_flag=True, help="Write the block into ~/.ssh/config.")
@json_option
def login(
    bastion: str | None,
    no_browser: bool,
    device: bool,
    accept_host_key: str | None,
    alias: str | None,
    writes_config: bool,
    as_json: bool,
) -> None:
    """Sign in and get a certificate for ssh.

    Without an argument it goes to the bastion of the last time. A new key is made each time; key and certificate
    are stored in ~/.ssh and given to the ssh-agent until the certificate expires.
    """
    home = Path.home()
    memory = config_folder(os.environ, home) / "login.toml"
    place = choose_place(bastion, alias, read_remembered(memory))
    means = _means(os.environ, sys.platform, no_browser=no_browser, device=device)
    credential = asyncio.run(_sign_in(place, means, home / ".ssh" / "known_hosts", accept_host_key))

    stored = store(credential, place, home / ".ssh")
    not_in_agent = asyncio.run(
        add_to_agent(credential, place, agent=os.environ.get("SSH_AUTH_SOCK"), now=time.time())
    )
    remember(memory, place)
    block = config_block(place, stored)
    if writes_config:
        write_config(home / ".ssh" / "config", place.alias, block)
    if as_json:
        print_json(_record(credential, place, stored, in_agent=not_in_agent is None))
    else:
        _report(credential, place, stored, not_in_agent)
        _show_config(block, place, is_written=writes_config)


async def _sign_in(place: Place, means: Means, known_hosts: Path, accepted: str | None) -> Credential:
    key = asyncssh.generate_private_key("ssh-ed25519", comment=f"bastion {place.known_hosts_name}")

    def accept(fingerprint: str) -> bool:
        return _accept_host_key(place, fingerprint, accepted)

    async def show_url(url: str) -> None:
        _say("To sign in, open this address in a browser on this machine:", "", f"    {url}", "")
        if means.opens_browser and await asyncio.to_thread(webbrowser.open, url):
            _say("It has been opened in your browser.")

    async with connected(place, key, known_hosts=known_hosts, accept=accept) as connection:
        if not means.by_code:
            credential = await sign_in_by_browser(connection, key, show_url=show_url)
            if credential is not None:
                return credential
            _say("The provider of this bastion signs people in by a code only.")
        return await sign_in_by_code(connection, key, show=_say)


def _accept_host_key(place: Place, fingerprint: str, accepted: str | None) -> bool:
    if accepted is not None:
        return accepted == fingerprint
    if not sys.stdin.isatty():
        return False
    _say(
        f"The host key of {place.known_hosts_name} is not known yet. Its fingerprint is",
        "",
        f"    {fingerprint}",
        "",
        "Compare it with the one you were told.",
    )
    return click.confirm("Is it the same?", err=True)


def _means(environment: Mapping[str, str], platform: str, *, no_browser: bool, device: bool) -> Means:
    """A browser of this machine can be used when somebody can see it: not over ssh, unless it shows windows."""
    has_display = bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    is_remote = bool(environment.get("SSH_CONNECTION")) and not has_display
    # Without a display webbrowser would start one that takes the terminal over.
    can_open = has_display or platform in ("darwin", "win32")
    return Means(by_code=device or (is_remote and not no_browser), opens_browser=can_open and not no_browser)


def _record(credential: Credential, place: Place, stored: Stored, *, in_agent: bool) -> dict[str, object]:
    return {
        "user": credential.user,
        "host": place.host,
        "port": place.port,
        "alias": place.alias,
        "key": stored.key,
        "certificate": stored.certificate,
        "expires_at": credential.expires_at,
        "in_agent": in_agent,
    }


def _report(credential: Credential, place: Place, stored: Stored, not_in_agent: str | None) -> None:
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(credential.expires_at))
    minutes = max(0, round((credential.expires_at - time.time()) / 60))
    _say(
        f"Signed in to {place.host} as {credential.user}.",
        f"The certificate is good until {until}, which is {minutes // 60} h {minutes % 60:02} min from now:",
        f"    {stored.certificate}",
    )
    if not_in_agent is None:
        _say("The ssh-agent holds it until then, too.")
    else:
        _say(f"It is not in an ssh-agent ({not_in_agent}); ssh uses the files.")


def _show_config(block: str, place: Place, *, is_written: bool) -> None:
    if is_written:
        _say("", f"Connect with: ssh {place.alias}")
        return
    _say(
        "",
        "Put this into ~/.ssh/config (or let --write-config do it), and connect with",
        f"`ssh {place.alias}`:",
        "",
    )
    click.echo(block, nl=False)


def _say(*lines: str) -> None:
    """Tell the person something, on stderr: stdout holds what can be piped on."""
    for line in lines:
        click.echo(clean(line), err=True)
