"""What the old protocol of scp does to files, told from the bytes that pass (`scp -O`; OpenSSH's scp.c, rcp before it).

One side sends lines (`C0644 SIZE NAME`, `D…` into a folder, `E` out of it, `T…` times) and the contents of files with a
zero byte behind them; the other answers each with a zero byte, or with a byte 1 or 2 and a line of complaint. A file is
told of when its line comes, and its contents with their digest when their last byte does, before that is passed on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from bastion.relay.sftp_packets import MAX_PATH, Unreadable
from policy.files import Direction
from recorder.events import FileHandled

_ENTRY = re.compile(rb"([CD])([0-7]{4}) (\d{1,19}) ([^\n]+)")
_TIMES = re.compile(rb"T\d+ \d+ \d+ \d+")
_MAX_LINE = MAX_PATH + 64


class _Unread:
    """What has come and could not be told of yet."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def rest(self) -> bytes:
        """Take out what was not read."""
        rest = bytes(self.bytes)
        self.bytes.clear()
        return rest

    def line(self) -> bytes | None:
        """The first line, without its end; None while there is none. It stays until it is dropped."""
        end = self.bytes.find(b"\n")
        if end < 0 and len(self.bytes) <= _MAX_LINE:
            return None
        if not 0 <= end <= _MAX_LINE:
            raise Unreadable("a line that is longer than any")
        return bytes(self.bytes[:end])

    def drop(self, line: bytes) -> None:
        """Take out the first line, which is this one."""
        del self.bytes[: len(line) + 1]


class ScpManifest:
    """The files of one session of scp, in one *direction*."""

    def __init__(self, direction: Direction) -> None:
        self.from_client = _Unread()
        self.from_target = _Unread()
        uploads = direction == "upload"
        self._opening = "open to write" if uploads else "open to read"
        self._passing = "sent" if uploads else "received"
        self._sender = self.from_client if uploads else self.from_target
        self._folders: list[str] = []
        self._path = ""
        self._size = self._left = 0
        self._digest = hashlib.sha256()
        self._in_file = False

    def asked(self, data: bytes) -> Iterator[FileHandled]:
        """What *data* of the client says. Raises Unreadable."""
        yield from self._said(self.from_client, data)

    def answered(self, data: bytes) -> Iterator[FileHandled]:
        """What *data* of the target says. Raises Unreadable."""
        yield from self._said(self.from_target, data)

    def end(self) -> Iterator[FileHandled]:
        """What went of a file that did not come to its end."""
        if self._in_file and self._left:
            yield FileHandled(self._passing, self._path, size=self._size - self._left, result="incomplete")
        self._in_file = False

    def _said(self, unread: _Unread, data: bytes) -> Iterator[FileHandled]:
        unread.bytes += data
        while unread.bytes:
            if unread is self._sender and self._in_file:
                yield from self._contents()
            elif unread.bytes[0] in (1, 2):
                if (complaint := unread.line()) is None:
                    return
                unread.drop(complaint)
                yield self._complaint(complaint)
            elif unread.bytes[0] == 0 and (unread is not self._sender or not self._in_file):
                del unread.bytes[0]
            elif unread is not self._sender:
                raise Unreadable("an answer that is none of scp's")
            elif (line := unread.line()) is None:
                return
            else:
                told = self._line(line)
                unread.drop(line)
                yield from told

    def _line(self, line: bytes) -> list[FileHandled]:
        if line == b"E" and self._folders:
            self._folders.pop()
            return []
        if _TIMES.fullmatch(line) is not None:
            return []
        if (entry := _ENTRY.fullmatch(line)) is None:
            raise Unreadable("a line that is none of scp's")
        name = entry[4].decode("utf-8", "backslashreplace")
        path = "/".join([*self._folders, name])
        if entry[1] == b"D":
            self._folders.append(name)
            return [FileHandled("make folder" if self._passing == "sent" else "list", path)]
        self._path, self._size = path, int(entry[3])
        self._left, self._digest, self._in_file = self._size, hashlib.sha256(), True
        opened = FileHandled(self._opening, path, size=self._size)
        return [opened] if self._left else [opened, self._whole()]

    def _contents(self) -> Iterator[FileHandled]:
        """Take out contents; behind them stands a zero byte, or a complaint about what could not be read."""
        unread = self._sender.bytes
        if self._left:
            piece = unread[: self._left]
            self._digest.update(piece)
            self._left -= len(piece)
            del unread[: len(piece)]
            if not self._left:
                yield self._whole()
        if unread and not self._left:
            self._in_file = False  # the zero byte, or the complaint, is read like any other

    def _whole(self) -> FileHandled:
        return FileHandled(self._passing, self._path, size=self._size, sha256=self._digest.hexdigest())

    def _complaint(self, line: bytes) -> FileHandled:
        """What one side says of the last file; a receiver that refuses its line gets no contents of it."""
        self._in_file = False
        return FileHandled(
            self._opening,
            self._path,
            result=line[1:].decode("utf-8", "backslashreplace").strip() or "failure",
        )
