"""`bastion serve`: run the server in the foreground."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict

import click

from bastion import app
from cli.settings import Settings, pass_settings


@click.command()
@click.option(
    "--ready-fd", type=int, metavar="FD", help="Write a line of JSON to this descriptor once ready."
)
@pass_settings
def serve(settings: Settings, ready_fd: int | None) -> None:
    """Run the bastion until it is told to stop (SIGTERM). SIGHUP reads the configuration again."""

    def on_ready(ready: app.Ready) -> None:
        if ready_fd is not None:
            with os.fdopen(ready_fd, "w") as stream:
                stream.write(json.dumps(asdict(ready)) + "\n")

    asyncio.run(app.serve(settings.path, on_ready=on_ready))
