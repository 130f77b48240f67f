"""`bastion check`: everything that is wrong with the configuration, and what to do about it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click

from bastion.config.load import Examination, examine
from bastion.config.problem import Problem
from bastion.errors import ConfigError
from cli.output import clean, is_coloured, json_option, print_json
from cli.settings import Settings, pass_settings

_COLOURS = {"error": "red", "warning": "yellow"}


@click.command()
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@json_option
@pass_settings
def check(settings: Settings, strict: bool, as_json: bool) -> int:
    """Check the configuration.

    Prints every error and warning with its place and what to do. Exits with 78 if there is an error.
    """
    examination = examine(settings.path)
    if as_json:
        print_json(_as_data(examination))
    else:
        _print(examination)
    is_refused = examination.errors or (strict and examination.problems)
    return ConfigError.exit_code if is_refused else 0


def _as_data(examination: Examination) -> dict[str, object]:
    return {
        "file": examination.file,
        "usable": examination.config is not None,
        "problems": examination.problems,
    }


def _print(examination: Examination) -> None:
    colour = is_coloured(sys.stdout)
    for problem in sorted(examination.problems, key=lambda problem: problem.severity):
        severity = f"{problem.severity:8}"
        first, *rest = str(problem).splitlines()
        file = _file(problem, examination.file)
        click.echo(
            f"{click.style(severity, fg=_COLOURS[problem.severity]) if colour else severity} {file}{clean(first)}"
        )
        for line in rest:
            click.echo(f"{'':8} {clean(line)}")
    click.echo(f"{clean(str(examination.file))}: {_summary(examination)}")


def _file(problem: Problem, main: Path) -> str:
    return "" if problem.file == main else f"{clean(str(problem.file.relative_to(main.parent)))}: "


def _summary(examination: Examination) -> str:
    counts = Counter(problem.severity for problem in examination.problems)
    found = [_counted(counts[kind], kind) for kind in ("error", "warning") if counts[kind]]
    if examination.config is None:
        return f"cannot be used ({', '.join(found)})"
    if found:
        return f"can be used ({', '.join(found)})"
    targets, rules = len(examination.config.targets), len(examination.config.policy.rules)
    return f"all is well ({_counted(targets, 'target')}, {_counted(rules, 'rule')})"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
