"""--identity: the keys that open encrypted recordings, for every command that reads some."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from recorder.at_rest import Identity, read_identities

identity_option = click.option(
    "--identity",
    "identity_files",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    envvar="BASTION_AGE_IDENTITY",
    help="age identity or private SSH key, for recordings that are encrypted (.age); several may be given.",
)
"""Arrives as *identity_files*."""


def identities_in(files: Iterable[Path]) -> list[Identity]:
    """All identities in *files*."""
    return [identity for file in files for identity in read_identities(file)]
