"""`bastion …` in this process, over a bastion that init made."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from bastion.config.load import load
from bastion.config.model import Config
from cli.main import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """`run("ca", "status")` is `bastion --config … ca status`."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.file = folder / "bastion.toml"
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(["--config", str(self.file), *arguments])
        printed = self._capsys.readouterr()
        return Done(status=int(ended.value.code or 0), out=printed.out, err=printed.err)

    def init(self) -> None:
        """Make a bastion with its data beside its configuration."""
        done = self("init", "--non-interactive", "--data", "data", "--public-name", "bastion.example")
        assert done.status == 0, done.err

    @property
    def config(self) -> Config:
        return load(self.file)


@contextmanager
def restored_logging() -> Iterator[None]:
    """Commands set up logging to the stderr of the moment; put back what was there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()
