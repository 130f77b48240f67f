"""A state in a new file, and the clock it goes by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bastion.state.store import State
from tests.state.samples import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "state.db"


@pytest.fixture
async def state(path: Path, clock: Clock) -> AsyncIterator[State]:
    async with await State.open(path, clock) as state:
        yield state
