"""A `bastion` command over a bastion of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.bastion_command import Command, restored_logging


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """`run("ca", "status")`, over a bastion that `bastion init` made."""
    with restored_logging():
        command = Command(tmp_path, capsys)
        command.init()
        yield command
