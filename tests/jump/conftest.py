"""The ssh of people who go through the bastion to a target as stock clients do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rig.openssh import Client
from tests.rig.world import World


@pytest.fixture
def jumper(world: World) -> Callable[[str], Client]:
    """`jumper("alice")` is the ssh of alice for `-J bastion`, with strict host key checking."""
    return world.jumper


@pytest.fixture
def alice(jumper: Callable[[str], Client]) -> Client:
    return jumper("alice")
