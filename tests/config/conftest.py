from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOg7klRBCQK2ccQwM864ffQ8eRT0upoLiarQ94xuu8HB"
TARGET = f"""
[[targets]]
name = "web-1"
address = "192.0.2.7"
host_keys = ["{HOST_KEY}"]
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes bastion.toml, and files of targets.d by their names; returns the path of the first."""

    def write(text: str, **targets: str) -> Path:
        file = tmp_path / "bastion.toml"
        file.write_text(text)
        for name, content in targets.items():
            (tmp_path / "targets.d").mkdir(exist_ok=True)
            (tmp_path / "targets.d" / f"{name}.toml").write_text(content)
        return file

    return write
