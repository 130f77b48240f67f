"""What the files of a folder of recordings say about themselves, as rows for the index.

Only the ends of each file are read: the header, and the seal if there is one. Nothing is verified here.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from recorder.errors import FormatError
from recorder.header import Opening, decode_opening
from recorder.lines import LINE_LIMIT, SEAL, decode_line
from recorder.names import SUFFIX, SessionId, is_id, place
from recorder.statements import Account, read_seal

LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """What is known of a session without reading its recording.

    *ending* is "live" while the recording has no seal: it runs, or its server died and nobody has recovered it yet
    (`is_live` tells). *output_bytes* counts stdout and stderr.
    """

    id: SessionId
    path: Path
    user: str
    groups: tuple[str, ...]
    target: str
    kind: str
    login: str
    action: str
    command: str
    started_at: float
    ended_at: float | None
    ending: str
    exit_status: int | None
    output_bytes: int
    input_bytes: int
    facts: Mapping[str, str | list[str]]


def make_row(folder: Path, opening: Opening, account: Account | None) -> SessionRow:
    """The row of a recording in *folder*; without an account it is live."""
    facts = opening.header.facts
    text = {name: value for name, value in facts.items() if isinstance(value, str)}
    groups = facts.get("groups", [])
    return SessionRow(
        id=opening.id,
        path=folder / place(opening.id),
        user=text.get("user", ""),
        groups=tuple([groups] if isinstance(groups, str) else groups),
        target=text.get("target", ""),
        kind=text.get("kind", ""),
        login=text.get("login", ""),
        action=text.get("action", ""),
        command=text.get("command", ""),
        started_at=opening.header.started_at,
        ended_at=account.ended_at if account else None,
        ending=account.ending if account else LIVE,
        exit_status=account.exit_status if account else None,
        output_bytes=account.output_bytes + account.error_bytes if account else 0,
        input_bytes=account.input_bytes if account else 0,
        facts=facts,
    )


def recordings(folder: Path) -> Iterator[Path]:
    """The files in *folder* that are named and placed as recordings, oldest day first."""
    for path in sorted(folder.glob(f"[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]/*{SUFFIX}")):
        if is_id(path.stem) and path == folder / place(SessionId(path.stem)):
            yield path


def read_row(folder: Path, path: Path) -> SessionRow:
    """The row of the recording at *path*; FormatError when the file does not begin as one or is misnamed."""
    try:
        with path.open("rb") as file:
            opening = decode_opening(file.readline(LINE_LIMIT + 1))
            last = last_line(file.fileno())
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    if opening.id != path.stem:
        raise FormatError(f"the file is named {path.stem}, but it is the recording {opening.id}", line=1)
    return make_row(folder, opening, _account(last))


def is_live(path: Path) -> bool:
    """Whether a server that runs now is writing the recording at *path*."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def last_line(descriptor: int) -> bytes:
    """The last line of the file if it is whole, else nothing."""
    end = os.fstat(descriptor).st_size
    tail = b""
    start = end
    while start > 0 and len(tail) <= LINE_LIMIT:
        length = min(4096 if not tail else 256 * 1024, start)
        start -= length
        tail = os.pread(descriptor, length, start) + tail
        if (feed := tail.rfind(b"\n", 0, -1)) >= 0:
            return tail[feed + 1 :] if tail.endswith(b"\n") else b""
    return b""


def _account(line: bytes) -> Account | None:
    try:
        parsed = decode_line(0, line)
        return read_seal(parsed.data, 0)[1].session if parsed.code == SEAL else None
    except FormatError:  # torn, or broken: whatever it is, it is no seal
        return None
