"""`bastion serve`: run the server in the foreground."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from bastion.app import Ready, serve


@click.command()
@click.option("--ready-fd", type=int, metavar="FD", help="Write a line of JSON to this descriptor once ready.")
@click.pass_obj
def command(config: Path, ready_fd: int | None) -> None:
    """Run the bastion until it is told to stop (SIGTERM). SIGHUP reads the configuration again."""

    def on_ready(ready: Ready) -> None:
        if ready_fd is not None:
            with os.fdopen(ready_fd, "w") as stream:
                stream.write(json.dumps(asdict(ready)) + "\n")

    asyncio.run(serve(config, on_ready=on_ready))
