"""Values and targets as TOML text, and a target as a file of targets.d.

tomli-w does the escaping. A file is put there whole or not at all, readable for everybody (it holds no secret).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tomli_w

from bastion.config.crosscheck import Place, target_problems
from bastion.config.load import TARGETS_FOLDER
from bastion.config.targets import Target
from bastion.errors import ConfigError
from bastion.runtime.files import create_file, replace_file

_READABLE = 0o644


def target_file(config_file: Path, name: str) -> Path:
    """Where the target *name* goes that is added to the configuration in *config_file*."""
    return config_file.absolute().parent / TARGETS_FOLDER / f"{name}.toml"


def target_toml(target: Target) -> str:
    """The [[targets]] table of *target*, without the settings that have their defaults."""
    settings = target.model_dump(mode="json", exclude_defaults=True)
    lines = (f"{name} = {literal(value)}\n" for name, value in {"name": target.name, **settings}.items())
    return "[[targets]]\n" + "".join(lines)


def write_target(config_file: Path, target: Target, *, replace: bool = False) -> Path:
    """Write *target* to its file in targets.d and return the file.

    Raises ConfigError when the file is there and not to be replaced, and for host keys with which the configuration
    could not be loaded any more. Whether another file has a target of that name, only loading it all tells.
    """
    file = target_file(config_file, target.name)
    for problem in target_problems(target, Place(file, "")):
        if problem.severity != "error":
            continue
        raise ConfigError(f"the target {target.name} cannot be written: {problem.line}", hint=problem.hint)
    try:
        file.parent.mkdir(mode=0o755, exist_ok=True)
        write = replace_file if replace else create_file
        write(file, target_toml(target).encode(), mode=_READABLE)
    except FileExistsError as error:
        hint = "Choose another name, or edit that file."
        raise ConfigError(f"the target {target.name} is there already: {file}", hint=hint) from error
    except OSError as error:
        hint = "Run the command as root, or as the owner of the folder."
        raise ConfigError(f"{file} cannot be written: {error.strerror}", hint=hint) from error
    return file


def literal(value: object) -> str:
    """*value* as TOML on one line."""
    match value:
        case Mapping():
            pairs = (f"{_key(str(key))} = {literal(inner)}" for key, inner in value.items())
            return f"{{ {', '.join(pairs)} }}" if value else "{}"
        case list() | tuple():
            return f"[{', '.join(literal(inner) for inner in value)}]"
        case _:
            return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _key(key: str) -> str:
    return tomli_w.dumps({key: 0}).removesuffix(" = 0\n")
