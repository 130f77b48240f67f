"""Commands that copy files: what clients run on a target for `scp -O`, `rsync` and some kinds of `sftp`.

They are recognised to be told of and refused by the policy for files, politely: whoever may run commands can carry
files in other ways, recorded byte by byte.
"""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from typing import Literal

from bastion.errors import SessionRefused
from bastion.transport.request import SessionRequest
from policy.files import Copying, Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """How a session copies files. *direction* and *paths* are known of commands; over SFTP each operation has its own.

    With *is_moving*, files are removed where they were copied from.
    """

    protocol: Literal["sftp", "scp", "rsync"]
    direction: Direction | None = None
    paths: tuple[str, ...] = ()
    is_moving: bool = False


def copy_of(request: SessionRequest) -> Copy | None:
    """How *request* copies files; None if it is for something else, or for nothing that can be recognised."""
    if request.kind == "subsystem":
        return Copy(protocol="sftp") if request.command == "sftp" else None
    if request.kind != "exec":
        return None
    try:
        words = shlex.split(request.command)
    except ValueError:
        return None
    if not words:
        return None
    match posixpath.basename(words[0]):
        case "scp":
            return _scp(words[1:])
        case "rsync" if len(words) > 1 and words[1] == "--server":
            return _rsync(words[2:])
        case "sftp-server" if len(words) == 1:
            return Copy(protocol="sftp")
        case _:
            return None


def _scp(words: list[str]) -> Copy | None:
    flags = [word for word in words if word.startswith("-") and word != "--"]
    paths = tuple(word for word in words if not word.startswith("-"))
    letters = "".join(flag[1:] for flag in flags if not flag.startswith("--"))
    match "t" in letters, "f" in letters:
        case True, False:
            return Copy(protocol="scp", direction="upload", paths=paths)
        case False, True:
            return Copy(protocol="scp", direction="download", paths=paths)
        case _:
            return None


def _rsync(words: list[str]) -> Copy:
    """`rsync --server [--sender] -flags… . PATH…`: the first dot stands for the client's own side."""
    direction: Direction = "download" if "--sender" in words else "upload"
    plain = [word for word in words if not word.startswith("-")]
    is_moving = "--remove-source-files" in words
    return Copy(protocol="rsync", direction=direction, paths=tuple(plain[1:]), is_moving=is_moving)


def refuse_copy(copy: Copy, copying: Copying, target: str) -> None:
    """Raise SessionRefused if *copying* does not let files be copied so on *target*."""
    if copy.direction is None:  # each operation is asked about when it comes
        return
    wanted: list[Direction] = ["upload", "download"] if copy.is_moving else [copy.direction]
    for direction in wanted:
        if not copying.allows(direction):
            way = "to" if direction == "upload" else "from"
            raise SessionRefused(f"no rule lets you copy files {way} {target}")
    if copying.holds_to_paths:
        raise SessionRefused(
            f"the rules name the files you may copy on {target}, and that does not go with {copy.protocol} commands",
            hint="Use sftp, or scp without -O.",
        )
