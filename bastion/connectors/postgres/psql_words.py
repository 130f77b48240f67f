"""The words after a PostgreSQL target: a role, and options of psql, those that make sense where there are no files."""

from __future__ import annotations

import dataclasses
import getopt
import re
import shlex

from bastion.errors import TargetError
from bastion.transport.request import SessionRequest

_FLAGS = "AtxqeEban1H0z"
_WITH_VALUE = "c:v:P:F:R:T:"
_LONG = [
    "command=", "csv", "echo-all", "echo-errors", "echo-hidden", "echo-queries", "expanded", "field-separator=",
    "field-separator-zero", "html", "no-align", "no-readline", "pset=", "quiet", "record-separator=",
    "record-separator-zero", "set=", "single-transaction", "table-attr=", "tuples-only", "variable=",
]  # fmt: skip


_WORD = re.compile(r"""\s*((?:[^\s'"\\]|\\.|'[^']*'|"(?:\\.|[^"\\])*")+)""", re.DOTALL)
_STATEMENT = re.compile(rf"-[{_FLAGS}]*c|--command")


def with_role(request: SessionRequest) -> tuple[str | None, SessionRequest]:
    """The role that the first word of a command names, if it is no option, and the request without it."""
    if request.kind != "exec":
        return None, request
    first, _, rest = request.command.strip().partition(" ")
    if first.startswith("-"):
        return None, request
    rest = rest.strip()
    return first, dataclasses.replace(request, kind="exec" if rest else "shell", command=rest)


def arguments_of(command: str) -> list[str]:
    """The options of psql in *command*, those that make sense here. Raises TargetError for others."""
    try:
        options, rest = getopt.gnu_getopt(_words(command), _FLAGS + _WITH_VALUE, _LONG)
    except (ValueError, getopt.GetoptError) as error:
        raise TargetError(
            f"psql is not started so: {error}",
            hint="For example: -c 'select 1', or -A -t --csv -v name=value",
        ) from error
    if rest:
        raise TargetError(
            f"psql is not started so: {rest[0]!r} is no option",
            hint="A role stands first, a database behind a slash: ssh BASTION TARGET/DATABASE ROLE -c 'select 1'",
        )
    arguments: list[str] = []
    for name, value in options:
        takes_value = f"{name[2:]}=" in _LONG if name.startswith("--") else f"{name[1]}:" in _WITH_VALUE
        arguments += [name, value] if takes_value else [name]
    return arguments


def _words(command: str) -> list[str]:
    """*command* in words, as a shell would have it, but for a statement behind -c that is not in quotes.

    The shell of the person takes their quotes away, and ssh puts nothing in their place: `-c 'select 1'` comes as
    `-c select 1`. It is then all the rest, as it is.
    """
    at = 0
    while word := _WORD.match(command, at):
        at = word.end()
        name, equals, _ = word[1].partition("=")
        if _STATEMENT.fullmatch(name) is None or (equals and not name.startswith("--")):
            continue
        statement = command[word.start(1) + len(name + equals) :].strip()
        if statement and statement[0] not in "'\"":
            return [*shlex.split(command[: word.start(1)]), name, statement]
    return shlex.split(command)
