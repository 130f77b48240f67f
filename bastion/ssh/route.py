"""Where a channel goes: decided from the SSH user name and the request alone, never from who the person is.

The user name is `target`, `login@target`, `login@target/what/is/in/it`, one of our own words, or anything else (then
it means nothing: stock ssh sends the local user name when nobody gave one). Where it names no target, the first word
of the command may.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from bastion.config.targets import BUILTIN_WORDS
from bastion.transport.request import SessionRequest
from policy.decide import no_such_target, quoted


@dataclass(frozen=True, slots=True)
class ToPicker:
    """Nobody named a target that is there; *notice* says so where they tried to."""

    notice: str = ""


@dataclass(frozen=True, slots=True)
class ToTarget:
    """To a target, as *login* (None: the default one), with what is left of the request.

    *path* is what was named inside the target: a database, or namespace/pod:container.
    """

    target: str
    login: str | None
    request: SessionRequest
    path: str = ""


@dataclass(frozen=True, slots=True)
class ToBuiltin:
    """To a command of our own."""

    word: str
    arguments: tuple[str, ...]


Route = ToPicker | ToTarget | ToBuiltin

LOGS = "logs"
"""The command of ours that is a session on a target: what a container wrote."""


def route(username: str, request: SessionRequest, is_target: Callable[[str], bool]) -> Route:
    """Decide where a channel goes; *is_target* says whether the person may know a target of that name."""
    if username in BUILTIN_WORDS:
        return ToBuiltin(username, _words(request.command))
    login, target, path = split_name(username)
    if is_target(target):
        return ToTarget(target, login, request, path)
    notice = no_such_target(target).reason if login is not None else ""
    if request.kind != "exec":
        return ToPicker(notice)
    first, _, rest = request.command.strip().partition(" ")
    if first == LOGS and rest:
        return _to_log(rest, request, is_target)
    if first in BUILTIN_WORDS:
        return ToBuiltin(first, _words(rest))
    login, other, path = split_name(first)
    if is_target(other):
        command = rest.strip()
        onward = dataclasses.replace(request, kind="exec" if command else "shell", command=command)
        return ToTarget(other, login, onward, path)
    # Which of the two was meant for a target's name nobody can tell.
    return ToPicker(f"{no_such_target(target).reason}, and none {quoted(other)}")


def _to_log(words: str, request: SessionRequest, is_target: Callable[[str], bool]) -> ToPicker | ToTarget:
    name, _, options = words.strip().partition(" ")
    login, target, path = split_name(name)
    if not is_target(target):
        return ToPicker(no_such_target(target).reason)
    command = f"{LOGS} {options.strip()}".strip()
    return ToTarget(target, login, dataclasses.replace(request, kind="logs", command=command), path)


def is_key_copy(request: SessionRequest) -> bool:
    """Whether this is `ssh-copy-id` at work. To tell people a better way, not to stop anybody who knows shells."""
    command = request.command
    return (
        request.kind == "exec"
        and command.startswith("exec sh -c ")
        and "umask 077" in command
        and "authorized_keys" in command
    )


def split_name(name: str) -> tuple[str | None, str, str]:
    """Split `login@target/path`; a target's name has neither `@` nor `/`, a login may have `@`."""
    before, slash, path = name.partition("/")
    login, at, target = before.rpartition("@")
    return login if at else None, target, path if slash else ""


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:  # unbalanced quotes: let the command itself complain about what it gets
        return tuple(command.split())
