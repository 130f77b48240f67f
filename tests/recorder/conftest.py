"""A store in a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from recorder.store import Store
from tests.recorder.casts import KEY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the recordings of a test stand."""
    return tmp_path / "recordings"


@pytest.fixture
async def store(folder: Path) -> AsyncIterator[Store]:
    """An open store on `folder`, signing with the key of these tests."""
    opened = await Store.open(folder, key=KEY)
    yield opened
    await opened.close()
