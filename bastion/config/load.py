"""bastion.toml, and the targets.d/*.toml beside it, into one Config, or every problem of them at once.

Reads the files and puts their parts together. What single settings must look like is said by `model.py`, what is
wrong between them by `crosscheck.py`.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bastion.config.crosscheck import Draft, Place, crosscheck
from bastion.config.model import Config
from bastion.config.problem import Problem
from bastion.config.section import Section
from bastion.config.shape import shape
from bastion.config.targets import Target
from bastion.errors import ConfigError

TARGETS_FOLDER = "targets.d"

S = TypeVar("S", bound=Section)


class TargetsFile(Section):
    """A whole file of targets.d."""

    targets: tuple[Target, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is wrong with a configuration, and the configuration if it can be used in spite of it."""

    file: Path
    config: Config | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "warning")


def load(path: Path) -> Config:
    """The configuration in *path*; ConfigError, listing every error, when it cannot be used."""
    return usable(examine(path))


def usable(examination: Examination) -> Config:
    """The configuration that was examined; ConfigError, listing every error, when it cannot be used."""
    if examination.config is None:
        raise _unusable(examination)
    return examination.config


def examine(path: Path) -> Examination:
    """Read the configuration in *path* and all that is wrong with it. Raises nothing for a bad one.

    Relative paths count from the folder of the file they stand in.
    """
    path = path.absolute()
    problems: list[Problem] = []
    data = _read(path, problems)
    if data is None:
        return Examination(file=path, config=None, problems=tuple(problems))

    main = shape(Config, data, path)
    problems += main.problems
    config = _anchored(main.model, path.parent)
    targets = list(config.targets)
    places = [Place(path, at) for at in main.places("targets", count=len(targets))]
    for file in _target_files(path.parent / TARGETS_FOLDER, problems):
        if (data := _read(file, problems)) is None:
            continue
        part = shape(TargetsFile, data, file)
        problems += part.problems
        targets += _anchored(part.model, file.parent).targets
        places += [Place(file, at) for at in part.places("targets", count=len(part.model.targets))]
    config = config.model_copy(update={"targets": tuple(targets)})

    draft = Draft(
        file=path,
        config=config,
        targets=places,
        issuers=[Place(path, at) for at in main.places("issuers", count=len(config.issuers))],
        rules=[Place(path, at) for at in main.places("policy", "rules", count=len(config.policy.rules))],
        auditors=[
            Place(path, at) for at in main.places("policy", "auditors", count=len(config.policy.auditors))
        ],
        is_whole=not problems,
    )
    problems += crosscheck(draft)
    usable = not any(problem.severity == "error" for problem in problems)
    return Examination(file=path, config=config if usable else None, problems=tuple(problems))


def _unusable(examination: Examination) -> ConfigError:
    main, errors = examination.file, examination.errors
    if len(errors) == 1 and not errors[0].path and errors[0].file == main:
        return ConfigError(f"{main}: {errors[0].message}", hint=errors[0].hint)
    lines = [f"{main} cannot be used as it stands:"]
    for problem in errors:
        file = "" if problem.file == main else f"{problem.file.relative_to(main.parent)}: "
        lines += [
            f"  {file}{line}" if n == 0 else f"  {line}" for n, line in enumerate(str(problem).splitlines())
        ]
    return ConfigError("\n".join(lines), hint="bastion check lists warnings too.")


def _read(file: Path, problems: list[Problem]) -> dict[str, Any] | None:
    """The data of *file*, or None and a problem."""

    def problem(message: str, hint: str = "") -> None:
        problems.append(Problem(severity="error", file=file, path="", message=message, hint=hint))

    try:
        with file.open("rb") as stream:
            if stat.S_IMODE(file.stat().st_mode) & stat.S_IWOTH:
                problem("everybody on this machine can write this file", f"Mend it with: chmod o-w {file}")
            return tomllib.load(stream)
    except FileNotFoundError:
        problem("there is no such file", "Write one with: bastion init, or name another with --config.")
    except tomllib.TOMLDecodeError as error:
        problem(*_syntax(str(error)))
    except UnicodeDecodeError as error:
        problem(f"this is not UTF-8 text (byte {error.start})", "Save the file as UTF-8.")
    except IsADirectoryError:
        problem("this is a folder", "Name the file in it.")
    except OSError as error:
        problem(
            f"cannot be read: {error.strerror}",
            "Run the command as the user the bastion runs as, or as root.",
        )
    return None


def _syntax(error: str) -> tuple[str, str]:
    """tomllib's message with the place in front, as compilers write it."""
    place = re.search(r" \(at (?:line (\d+), column (\d+)|(end of document))\)$", error)
    if place is None:
        return f"this is not TOML: {error}", ""
    message = error[: place.start()][:1].lower() + error[1 : place.start()]
    where = "at the end" if place[3] else f"line {place[1]}, column {place[2]}"
    return (
        f"{where}: this is not TOML: {message}",
        "Text stands in quotes, lists in [ ], sections begin with [name].",
    )


def _target_files(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        problems.append(Problem(severity="error", file=folder, path="", message=message))
        return
    for name in names:
        if name.endswith(".toml") and not name.startswith("."):  # a dot begins what is being written just now
            yield folder / name


def _anchored(section: S, folder: Path) -> S:
    """*section* with every relative path in it counted from *folder*."""
    changed: dict[str, object] = {}
    for name in type(section).model_fields:
        match getattr(section, name):
            case Path() as path:
                changed[name] = folder / path
            case Section() as inner:
                changed[name] = _anchored(inner, folder)
            case (Section(), *_) as elements:
                changed[name] = tuple(_anchored(element, folder) for element in elements)
            case _:
                pass
    return section.model_copy(update=changed)
