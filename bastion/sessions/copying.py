"""Commands that copy files: what clients run on a target for `scp -O`, `rsync` and some kinds of `sftp`.

They are recognised to be told of and refused by the policy for files, politely: whoever may run commands can carry
files in other ways, recorded byte by byte.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import Literal

from bastion.errors import SessionRefused
from bastion.sessions.rsync_options import options_of
from bastion.sessions.words import words_of
from bastion.transport.request import SessionRequest
from policy.files import DIRECTIONS, Copying, Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """How a session copies files. *directions* are known of commands; over SFTP each operation has its own.

    *words* are those of a command, behind the program's name. With *is_unclear* it may go in either direction.
    """

    protocol: Literal["sftp", "scp", "rsync"]
    directions: tuple[Direction, ...] = ()
    words: tuple[str, ...] = ()
    is_unclear: bool = False


def copy_of(request: SessionRequest) -> Copy | None:
    """How *request* copies files; None if it is for something else, or for nothing that can be recognised."""
    if request.kind == "subsystem":
        return Copy(protocol="sftp") if request.command == "sftp" else None
    if request.kind != "exec":
        return None
    words = words_of(request.command)
    if not words:
        return None
    match posixpath.basename(words[0]):
        case "scp":
            return _scp(words[1:])
        case "rsync" if len(words) > 1 and words[1] == "--server" and "--daemon" not in words:
            return _rsync(words[1:])
        case "sftp-server" if len(words) == 1:
            return Copy(protocol="sftp")
        case _:
            return None


def _scp(words: list[str]) -> Copy | None:
    flags = [word for word in words if word.startswith("-") and word != "--"]
    letters = "".join(flag[1:] for flag in flags if not flag.startswith("--"))
    match "t" in letters, "f" in letters:
        case True, False:
            return Copy(protocol="scp", directions=("upload",), words=tuple(words))
        case False, True:
            return Copy(protocol="scp", directions=("download",), words=tuple(words))
        case _:
            return None


def _rsync(words: list[str]) -> Copy:
    """`rsync --server [--sender] …`. What is not said as clients say it, or over the connection, may go either way.

    A wildcard may become an option that is the name of a file; and a list of files that the target has is read there.
    """
    options = options_of(words)
    downloads = words[1:2] == ["--sender"]
    may_send = "--sender" in words or any(character in word for word in words for character in "*?[")
    is_clear = not options.is_secluded and (downloads or not may_send)
    does_more = options.changes_sender if downloads else options.files_from
    directions: tuple[Direction, ...] = DIRECTIONS if does_more or not is_clear else (options.direction,)
    return Copy(protocol="rsync", directions=directions, words=tuple(words), is_unclear=not is_clear)


def refuse_copy(copy: Copy, copying: Copying, target: str) -> None:
    """Raise SessionRefused if *copying* does not let files be copied so on *target*."""
    if not copy.directions:  # each operation is asked about when it comes
        return
    for direction in copy.directions:
        if not copying.allows(direction):
            if copy.is_unclear and any(map(copying.allows, copy.directions)):
                raise SessionRefused(
                    f"the rules let you copy one way only on {target}, and this command does not say which way it goes",
                    hint="Use rsync without --secluded-args (-s), and no wildcards.",
                )
            way = "to" if direction == "upload" else "from"
            raise SessionRefused(f"no rule lets you copy files {way} {target}")
    if copying.holds_to_paths:
        raise SessionRefused(
            f"the rules name the files you may copy on {target}, and that does not go with {copy.protocol} commands",
            hint="Use sftp, or scp without -O.",
        )
