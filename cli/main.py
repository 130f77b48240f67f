"""The command `bastion`: global options, and the one place where errors become a line and an exit code.

Knows no command; `commands.py` finds them. A command raises the errors of its package and never prints one itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import click

from bastion import __version__
from bastion.errors import BastionError
from cli.commands import LazyGroup
from cli.output import print_error
from cli.settings import Settings
from policy.errors import PolicyError
from recorder.errors import RecorderError

_INTERRUPTED = 128 + 2
_IO_ERROR = 74


@click.group(
    cls=LazyGroup,
    name="bastion",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="bastion", message="%(prog)s %(version)s")
@click.option(
    "--config",
    "config",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="BASTION_CONFIG",
    help="The configuration; by default ./bastion.toml, then /etc/bastion/bastion.toml.",
)
@click.pass_context
def bastion(context: click.Context, config: Path | None) -> None:
    """An SSH bastion: OIDC sign-in, short-lived certificates, every session recorded before it is seen."""
    context.obj = Settings(named=config)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `bastion` with *arguments* (by default those of the process) and exit with its code."""
    sys.excepthook = _report_bug
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read us has seen enough; Python's own flush at exit must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or 1
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        result = bastion.main(arguments, prog_name="bastion", standalone_mode=False)
    except (BastionError, PolicyError, RecorderError) as error:
        print_error(error.message, error.hint)
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        print_error(error.format_message())
        return error.exit_code
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print_error(f"{place}{error.strerror or error}")
        return _IO_ERROR
    return result if isinstance(result, int) else 0


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What nobody expected: one line too; the traceback only for whoever asks for it."""
    if os.environ.get("BASTION_TRACEBACK"):
        sys.__excepthook__(kind, error, trace)
        return
    print_error(
        f"internal error: {kind.__name__}: {error}",
        hint="This is a fault of ours, please report it. BASTION_TRACEBACK=1 in the environment shows where it is.",
    )
