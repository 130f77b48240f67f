"""A bastion whose rules let alice forward, and the ssh of people who do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.openssh import Client
from tests.rig.world import World

RULES = """
[[policy.rules]]
name = "tunnels"
groups = ["sre"]
targets = ["web-1"]
logins = ["deploy"]
actions = []
forward = ["localhost:*", "127.0.0.1:1024-65535", "/*"]
listen = ["localhost:*", "/*"]
agent = true
x11 = true

[[policy.rules]]
name = "not to the metadata service"
effect = "deny"
groups = ["*"]
forward = ["169.254.0.0/16:*", "localhost:1"]

[[policy.rules]]
name = "developers too, on staging"
groups = ["dev"]
targets = ["web-2"]
logins = ["deploy"]
forward = ["localhost:*"]
"""


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all of these tests; the last file of them changes what it keeps."""
    folder = tmp_path_factory.mktemp("world")
    prepared = World(folder)
    prepared.web_1.settings = ("X11Forwarding yes", f"XAuthLocation {_xauth(folder)}")
    with prepared as world:
        world.configure(RULES)
        yield world


def _xauth(folder: Path) -> Path:
    """An xauth that only writes down what the server of the target tells it."""
    program = folder / "xauth"
    program.write_text(f'#!/bin/sh\ncat > "{folder}/cookies"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def alice(world: World) -> Client:
    return world.jumper("alice")


@pytest.fixture
def certified(world: World) -> Client:
    """The ssh of alice that knows the bastion as localhost."""
    return world.certified("alice")


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a name short enough for sockets."""
    return tmp_path_factory.mktemp("s")
