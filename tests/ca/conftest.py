"""A state and a keys folder with all keys made, and the authorities over them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bastion.ca.authorities import Authorities
from bastion.ca.keys import create_missing_keys
from bastion.config.model import Certificates
from bastion.state.store import State
from tests.state.samples import Clock

PUBLIC_NAME = "localhost"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys"


@pytest.fixture
async def state(tmp_path: Path, keys: Path, clock: Clock) -> AsyncIterator[State]:
    async with await State.open(tmp_path / "data" / "state.db", clock) as state:
        await create_missing_keys(keys, state, clock)
        yield state


@pytest.fixture
async def authorities(state: State, keys: Path, clock: Clock) -> Authorities:
    return await Authorities.open(keys, state, Certificates(), PUBLIC_NAME, clock)
