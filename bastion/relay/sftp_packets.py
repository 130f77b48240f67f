"""SFTP packets out of a stream of bytes (draft-ietf-secsh-filexfer-02, the version 3 that everybody speaks).

Knows how packets are framed and their fields laid out, not what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

MAX_PACKET = 1024 * 1024
"""Longer than any that servers take (OpenSSH: 256 KiB)."""


MAX_PATH = 16 * 1024
"""Longer than the path of any file (Linux: 4 KiB)."""


class Unreadable(Exception):
    """The bytes are no SFTP, or more than can be kept in mind."""


class Kind(IntEnum):
    """The first byte of a packet."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Packet:
    """The fields of one packet, to be taken in their order; Unreadable where they do not fit."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 1
        try:
            self.kind = Kind(content[0])
        except (IndexError, ValueError) as error:
            raise Unreadable("no SFTP packet") from error

    @property
    def framed(self) -> bytes:
        """The packet as it goes over the wire."""
        return len(self._content).to_bytes(4) + self._content

    def number(self, size: int = 4) -> int:
        """An unsigned integer of *size* bytes."""
        return int.from_bytes(self._take(size))

    def string(self) -> bytes:
        return self._take(self.number())

    def path(self) -> str:
        """A string as text; bytes that are no UTF-8 as escapes."""
        path = self.string()
        if len(path) > MAX_PATH:
            raise Unreadable("a path that is longer than any")
        return path.decode("utf-8", "backslashreplace")

    def last_string(self) -> bytes:
        """A string with nothing behind it, where something could be hidden."""
        string = self.string()
        if self._at < len(self._content):
            raise Unreadable("bytes behind the end of a packet")
        return string

    def _take(self, size: int) -> bytes:
        taken = self._content[self._at : self._at + size]
        if len(taken) < size:
            raise Unreadable("a packet ends before its fields do")
        self._at += size
        return taken


class Framing:
    """One direction of a connection, cut into packets."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def packets(self, data: bytes) -> Iterator[Packet]:
        """The packets that *data* completes. Raises Unreadable, and `rest` then begins with what could not be read."""
        self._bytes += data
        while len(self._bytes) >= 4:
            length = int.from_bytes(self._bytes[:4])
            if not 1 <= length <= MAX_PACKET:
                raise Unreadable("no SFTP packet")
            if len(self._bytes) < 4 + length:
                return
            yield Packet(bytes(self._bytes[4 : 4 + length]))
            del self._bytes[: 4 + length]

    def rest(self) -> bytes:
        """Take out what was not read."""
        rest = bytes(self._bytes)
        self._bytes.clear()
        return rest
