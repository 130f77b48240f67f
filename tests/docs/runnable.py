"""What is runnable in a Markdown document, and running it: ```console PERSON blocks, with `$ ` before each command.

A block is one shell, whose commands see each other's files and exit status. What is shown below a command must come
out of it, in that order; other lines may stand between. What differs from run to run (times, ids, serials) may differ,
and `…` stands for anything. A command whose exit status is not asked for by `echo $?` must end with 0.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_VOLATILE = re.compile(
    r"(?P<moment>\d{4}-\d\d-\d\d \d\d:\d\d)|(?P<session>\d{6}-[0-9a-hjkmnp-tv-z]{7})"
    r"|(?P<lasted>\b(?:\d+h)?(?:\d+m)?\d+s\b)|(?P<serial>\b[0-9a-f]{15,16}\b)|(?P<ca>\b[0-9a-f]{12}\b)"
    r"|(?P<port>(?<=127\.0\.0\.1:)\d+)|(?P<count>all \d+ lines)|(?P<rest>…)|(?P<space> +)"
)
_PATTERNS = {
    "moment": r"\d{4}-\d\d-\d\d \d\d:\d\d",
    "session": r"\d{6}-[0-9a-z]{7}",
    "lasted": r"[0-9hms]+",
    "serial": r"[0-9a-f]{1,16}",
    "ca": r"[0-9a-f]{12}",
    "port": r"\d+",
    "count": r"all \d+ lines",
    "rest": r".*",
    "space": r" +",
}
_MARK = "--- end of a command of the documentation ---"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command, and the lines that the document shows below it."""

    text: str
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The fenced block of *language*; *person* is who runs it, or empty."""

    language: str
    person: str
    text: str

    @property
    def commands(self) -> list[Command]:
        parts = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        assert not parts[0], f"text before the first command: {parts[0]}"
        found = []
        for part in parts[1:]:
            text, _, shown = part.partition("\n")
            found.append(Command(text=text, shown=tuple(filter(None, shown.splitlines()))))
        return found


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of *document*."""
    return [
        Block(language=language, person=person, text=text)
        for language, person, text in _BLOCK.findall(document.read_text())
    ]


def run(block: Block, *, folder: Path, path: Path, variables: Mapping[str, str]) -> list[str]:
    """Run *block* in *folder*, with *path* before PATH; returns what is not as the document shows it."""
    commands = block.commands
    script = "".join(
        f"{command.text}\ns=$?; printf '\\n%s %s\\n' '{_MARK}' $s; (exit $s)\n" for command in commands
    )
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False, timeout=60,
        env={**os.environ, **variables, "PATH": f"{path}:{os.environ['PATH']}", "NO_COLOR": "1"},
    )  # fmt: skip
    outputs = re.split(rf"\n{_MARK} (\d+)\n", done.stdout)
    assert len(outputs) == 2 * len(commands) + 1, done.stdout
    wrong = []
    for at, (command, output, status) in enumerate(zip(commands, outputs[::2], outputs[1::2], strict=False)):
        is_asked = at + 1 < len(commands) and commands[at + 1].text == "echo $?"
        missing = not_shown(command.shown, output.splitlines())
        if missing is not None or (status != "0" and not is_asked):
            wrong.append(f"$ {command.text}\n(exit status {status}; missing: {missing})\n{output}")
    return wrong


def not_shown(expected: Sequence[str], lines: Sequence[str]) -> str | None:
    """The first of *expected* that does not come in *lines* after the ones before it; None when all do."""
    rest = iter(lines)
    for line in expected:
        pattern = as_pattern(line)
        if not any(pattern.fullmatch(candidate.rstrip("\r ")) for candidate in rest):
            return line
    return None


def as_pattern(line: str) -> re.Pattern[str]:
    """What *line* of a document stands for."""
    pattern, at = "", 0
    for found in _VOLATILE.finditer(line):
        assert found.lastgroup is not None
        pattern += re.escape(line[at : found.start()]) + _PATTERNS[found.lastgroup]
        at = found.end()
    return re.compile(pattern + re.escape(line[at:]))
