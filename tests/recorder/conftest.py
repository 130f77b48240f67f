"""A store in a folder of its own."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", disk], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small tmpfs takes root")
    yield disk
    subprocess.run(["umount", disk], check=True)
