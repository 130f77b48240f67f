"""`bastion kubeconfig`: on an engineer's machine, what `ssh bastion kubeconfig` prints.

The token in it is for that person's sign-in, so only the bastion itself can make one: this runs ssh, with the
credential of `bastion login`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import click

from cli.login_files import quoted, stored_at
from cli.login_place import choose_place, config_folder, read_remembered


@click.command()
@click.argument("target")
@click.option(
    "--local-port", type=click.IntRange(1, 65535), help="For ssh -L with this port, instead of ssh -D."
)
@click.option("--socks-port", type=click.IntRange(1, 65535), help="The port of ssh -D.  [default: 1080]")
@click.pass_context
def kubeconfig(ctx: click.Context, target: str, local_port: int | None, socks_port: int | None) -> None:
    """Print a kubeconfig for the cluster TARGET, which holds as long as the sign-in.

    It goes to the bastion of the last `bastion login`, with ssh, and prints how to use what it gets.
    """
    home = Path.home()
    place = choose_place(None, None, read_remembered(config_folder(os.environ, home) / "login.toml"))
    stored = stored_at(place, home / ".ssh")
    options = [
        f"IdentityFile={quoted(stored.key)}",
        f"CertificateFile={quoted(stored.certificate)}",
        "IdentitiesOnly=yes",
    ]
    words = ["kubeconfig", target]
    words += [f"--local-port={local_port}"] if local_port is not None else []
    words += [f"--socks-port={socks_port}"] if socks_port is not None else []
    user = ["-l", place.user] if place.user else []
    ssh = [
        "ssh",
        "-nT",
        "-p",
        str(place.port),
        *user,
        *(f"-o{option}" for option in options),
        "--",
        place.host,
    ]
    done = subprocess.run([*ssh, shlex.join(words)], check=False)
    ctx.exit(done.returncode)
