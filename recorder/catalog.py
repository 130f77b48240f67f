"""What the files of a folder of recordings say about themselves, as rows for the index.

Only the ends of each file are read: the header, and the seal if there is one; of an encrypted one its label. Nothing is
verified here.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from recorder.errors import FormatError
from recorder.folder import plain_file
from recorder.header import Facts, Opening, decode_opening
from recorder.label import label_beside, last_line_in, plain_facts, read_label, read_last_line
from recorder.lines import LINE_LIMIT, decode_line
from recorder.names import ENCRYPTED, SUFFIX, SessionId, id_in, is_encrypted, is_id
from recorder.statements import Account

LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """What is known of a session without reading its recording.

    *ending* is "live" while the recording has no seal: it runs, or its server died and nobody has recovered it yet
    (`is_live` tells). *output_bytes* counts stdout and stderr. Of a recording that is encrypted, or is to be, *command*
    is empty and *facts* are those of a label.
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
    """The row of a recording in *folder* that is not encrypted; without an account it is live."""
    path = plain_file(folder, opening.id)
    return _row(path, opening.id, opening.header.started_at, plain_facts(opening.header), account)


def _row(
    path: Path, session_id: SessionId, started_at: float, facts: Facts, account: Account | None
) -> SessionRow:
    text = {name: value for name, value in facts.items() if isinstance(value, str)}
    groups = facts.get("groups", [])
    return SessionRow(
        id=session_id,
        path=path,
        user=text.get("user", ""),
        groups=tuple([groups] if isinstance(groups, str) else groups),
        target=text.get("target", ""),
        kind=text.get("kind", ""),
        login=text.get("login", ""),
        action=text.get("action", ""),
        command=text.get("command", ""),
        started_at=started_at,
        ended_at=account.ended_at if account else None,
        ending=account.ending if account else LIVE,
        exit_status=account.exit_status if account else None,
        output_bytes=account.output_bytes + account.error_bytes if account else 0,
        input_bytes=account.input_bytes if account else 0,
        facts=facts,
    )


def recordings(folder: Path) -> Iterator[Path]:
    """The files in *folder* that are named and placed as recordings, one of each, oldest day first."""
    last = ""
    for path in sorted(folder.glob(f"[0-9][0-9][0-9][0-9]/[0-9][0-9]/[0-9][0-9]/*{SUFFIX}*")):
        name = id_in(path)
        if not is_id(name) or name == last:  # the plain file sorts first, and counts as long as it is there
            continue
        plain = plain_file(folder, SessionId(name))
        if path == plain or path == plain.with_name(name + ENCRYPTED):
            last = name
            yield path


def read_row(folder: Path, path: Path) -> SessionRow:
    """The row of the recording at *path*; FormatError when the file does not begin as one or is misnamed."""
    if is_encrypted(path):
        return _labelled_row(path)
    try:
        with path.open("rb") as file:
            opening = decode_opening(file.readline(LINE_LIMIT + 1))
            last = last_line(file.fileno())
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    if opening.id != id_in(path):
        raise FormatError(f"the file is named {id_in(path)}, but it is the recording {opening.id}", line=1)
    return make_row(folder, opening, _account(last))


def _labelled_row(path: Path) -> SessionRow:
    try:
        label = read_label(label_beside(path)).label
    except OSError as error:
        raise FormatError(f"the label of {path.name} cannot be read: {error.strerror}") from error
    if label.id != id_in(path):
        raise FormatError(f"the file is named {id_in(path)}, but its label is of the recording {label.id}")
    account = last_line_in(label).seal.session
    return _row(path, SessionId(label.id), label.started_at, label.facts, account)


def is_to_be_encrypted(path: Path) -> bool:
    """Whether the recording at *path* is plain, and is not to stay so once it is sealed."""
    if is_encrypted(path):
        return False
    try:
        with path.open("rb") as file:
            return decode_opening(file.readline(LINE_LIMIT + 1)).header.encrypt
    except (OSError, FormatError):  # `bastion verify` tells
        return False


def is_live(path: Path) -> bool:
    """Whether a process that runs now holds the recording at *path*: a server that writes it, or that encrypts it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # removed, or just encrypted
        return False
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


def last_time(path: Path) -> float:
    """The time of the last whole line of the recording at *path*, in seconds since the start.

    FormatError where that cannot be read: of an encrypted one without a label.
    """
    try:
        if is_encrypted(path):
            return decode_line(0, last_line_in(read_label(label_beside(path)).label).raw).time
        with path.open("rb") as file:
            line = last_line(file.fileno()) or _line_before_the_last(file.fileno())
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return decode_line(0, line).time
    except FormatError:  # nothing but a header
        return 0.0


def _line_before_the_last(descriptor: int) -> bytes:
    end = os.fstat(descriptor).st_size
    start = max(end - 2 * LINE_LIMIT, 0)  # a torn line, and a whole one
    tail = os.pread(descriptor, end - start, start)
    return tail[: tail.rfind(b"\n") + 1].rpartition(b"\n")[0].rpartition(b"\n")[2] + b"\n"


def _account(line: bytes) -> Account | None:
    try:
        return read_last_line(line).seal.session
    except FormatError:  # torn, or broken: whatever it is, it is no seal
        return None
