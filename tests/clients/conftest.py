"""The two ways to a target, through a jump and by a name that holds both; and programs that may not be here."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rig.openssh import Client
from tests.rig.world import World

CLIENTS = Path(sys.prefix) / "clients"
"""Where scripts/clients puts what it does not install into the system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How alice reaches web-1 as deploy: with *options* for ssh, scp and sftp, under the name *host*."""

    client: Client
    options: tuple[str, ...]
    host: str

    @property
    def ssh(self) -> str:
        """The ssh command, for programs that call it."""
        return shlex.join(self.client.command(*self.options))


@pytest.fixture(params=["jump", "direct"])
def way(request: pytest.FixtureRequest, world: World) -> Way:
    """Each of the two ways in turn."""
    client = world.jumper("alice")
    if request.param == "jump":
        return Way(client=client, options=("-J", "bastion"), host="deploy@web-1")
    return Way(client=client, options=(), host="deploy@web-1@localhost")


def need(program: str) -> str:
    """The path of *program*; skips the test where it is not installed."""
    found = shutil.which(program) or shutil.which(program, path=f"/usr/sbin:{CLIENTS / 'bin'}")
    if found is None:
        pytest.skip(f"{program} is not here; scripts/clients installs it")
    return found
