"""Which bastion.toml a command works on.

The configuration is looked for and read only when a command asks for it: `bastion login` on a laptop has none.
Knows nothing of what stands in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bastion.errors import ConfigError

if TYPE_CHECKING:  # pydantic and asyncssh take longer to import than `bastion --help` may last
    from bastion.config.model import Config

SEARCHED = (Path("bastion.toml"), Path("/etc/bastion/bastion.toml"))


@dataclass(frozen=True)
class Settings:
    """What the global options say: *named* is the file of --config or BASTION_CONFIG."""

    named: Path | None = None
    searched: tuple[Path, ...] = SEARCHED

    @cached_property
    def path(self) -> Path:
        """The configuration file, whether or not it is right; ConfigError if there is none to be found."""
        if self.named is not None:
            return self.named
        for path in self.searched:
            if path.is_file():
                return path
        places = " nor ".join(str(path) for path in self.searched)
        raise ConfigError(
            f"there is no configuration: neither {places} exists",
            hint="Write one with: bastion init, or name it with --config or BASTION_CONFIG.",
        )

    @cached_property
    def config(self) -> Config:
        """The configuration; ConfigError if it cannot be used."""
        from bastion.config.load import load

        return load(self.path)


pass_settings = click.make_pass_decorator(Settings)
"""Gives a command the Settings as its first argument."""
