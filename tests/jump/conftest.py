"""The ssh of people who go through the bastion to a target as stock clients do: ProxyJump, strict host key checking."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.rig.openssh import Client
from tests.rig.world import World

SETTINGS = """\
StrictHostKeyChecking yes
BatchMode yes
Host bastion
    HostName localhost
Host web-* *.localhost
    Port 22
"""


@pytest.fixture(scope="module")
def jumper(world: World) -> Callable[[str], Client]:
    """`jumper("alice")` knows the bastion by the line that `bastion ca show host` prints, and calls it `bastion`."""

    def make(person: str) -> Client:
        certified = world.certified(person)
        folder = world.folder / "jumpers" / person
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in certified.folder.glob("id_ed25519*"):
            shutil.copy2(file, folder)
        client = Client(folder, port=world.bastion.port, settings=SETTINGS)
        shown = world.bastion.run("ca", "show", "host")
        assert shown.status == 0, shown.errors
        client.known_hosts.write_text(shown.text)
        return client

    return make


@pytest.fixture(scope="module")
def alice(jumper: Callable[[str], Client]) -> Client:
    return jumper("alice")
