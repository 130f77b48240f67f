"""Which program runs in a container for what somebody asked for. Pure.

`kubectl exec pod -- words` runs words, `ssh host words` runs a line in a shell. A line that a shell would take for
plain words is run as words, so that it also works in a container that has no shell; any other is given to `sh`.
"""

from __future__ import annotations

import re

from bastion.transport.request import SessionRequest

SHELL = ("sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash || exec sh")
"""The best shell there is; a shell must be there to find out."""

_PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./ -]+(?<! )(?: [A-Za-z0-9_@%+=:,./ -]+)?")
"""A line in which no character means something to a shell; in its first word not even an equals sign."""

_OF_THE_SHELL = frozenset({
    ".", ":", "alias", "bg", "break", "builtin", "case", "cd", "command", "continue", "declare", "do", "done", "elif",
    "else", "enable", "esac", "eval", "exec", "exit", "export", "fc", "fg", "fi", "for", "function", "getopts", "hash",
    "help", "history", "if", "jobs", "let", "local", "popd", "pushd", "pwd", "read", "readonly", "return", "select",
    "set", "shift", "shopt", "source", "then", "time", "times", "trap", "type", "typeset", "ulimit", "umask", "unalias",
    "unset", "until", "wait", "while",
})  # fmt: skip
"""First words that a shell means something else by than a program, or that need not be programs."""


def program_of(request: SessionRequest) -> tuple[str, ...]:
    """The words of the program that *request* is for."""
    if request.program is not None:
        return request.program
    if request.kind == "shell":
        return SHELL
    return words_of(request.command)


def words_of(line: str) -> tuple[str, ...]:
    """*line* as words to run, through a shell where it takes one."""
    words = line.split()
    if words and _PLAIN.fullmatch(line.strip()) and words[0] not in _OF_THE_SHELL:
        return tuple(words)
    return ("sh", "-c", line)
