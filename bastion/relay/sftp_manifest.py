"""What an SFTP session does to files, told from the packets that pass: every operation, and the digest of contents.

An operation is told when the client asks for it, before the target hears of it, and again with the target's answer,
before the client hears of that. Contents are digested as they pass, and told of before the file is closed. Looking
around (stat, the lines of a listing) is not told. Sans I/O: bytes go in, events come out.

Only what is understood may go untold: a packet that makes no sense, data that nobody asked for or a handle that was
never given raise `Unreadable`, for the bytes to be recorded instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bastion.relay.sftp_packets import Framing, Kind, Packet, Unreadable
from recorder.events import FileHandled

MAX_OPEN = 1024
"""Open files, and requests without an answer that name files, that are kept in mind."""

MAX_ASKED = 64 * 1024
"""Requests without an answer in all: paramiko asks for all pieces of a file at once."""

MAX_AHEAD = 4 * 1024 * 1024
"""Bytes of a session that may come ahead of their places in files and wait to be digested."""

_READ, _WRITE = 1, 2
_HAS_SIZE = 1
_RESULTS = (
    "ok",
    "end of file",
    "no such file",
    "permission denied",
    "failure",
    "bad message",
    "no connection",
    "connection lost",
    "not supported",
)
_LOOKING = {Kind.LSTAT, Kind.FSTAT, Kind.READDIR, Kind.REALPATH, Kind.STAT, Kind.READLINK}
_ON_PATHS = {
    Kind.REMOVE: "remove",
    Kind.MKDIR: "make folder",
    Kind.RMDIR: "remove folder",
    Kind.OPENDIR: "list",
}
_ON_TWO_PATHS = {"posix-rename@openssh.com": "rename", "hardlink@openssh.com": "link"}
_LOOKING_EXTENSIONS = {
    "statvfs@openssh.com",
    "fstatvfs@openssh.com",
    "limits@openssh.com",
    "expand-path@openssh.com",
    "users-groups-by-id@openssh.com",
    "home-directory",
    "fsync@openssh.com",
}


@dataclass(slots=True)
class _Waiting:
    """What waits in all files of a session."""

    size: int = 0


@dataclass(slots=True)
class _Contents:
    """The bytes of a file that went one way, digested in the order of their places."""

    waiting: _Waiting
    size: int = 0
    start: int | None = None
    _next: int = 0
    _digest: hashlib._Hash | None = field(default_factory=hashlib.sha256)
    _ahead: dict[int, bytes] = field(default_factory=dict)

    def take(self, offset: int, data: bytes) -> None:
        self.size += len(data)
        if self.start is None:
            self.start = self._next = offset
        if self._digest is None:
            return
        if offset < self._next or offset in self._ahead or self.waiting.size > MAX_AHEAD:
            self.forget_digest()  # written twice, or all over the place
            return
        self._ahead[offset] = data
        self.waiting.size += len(data)
        while (chunk := self._ahead.pop(self._next, None)) is not None:
            self._digest.update(chunk)
            self._next += len(chunk)
            self.waiting.size -= len(chunk)

    def forget_digest(self) -> None:
        self._digest = None
        self.waiting.size -= sum(map(len, self._ahead.values()))
        self._ahead.clear()

    @property
    def sha256(self) -> str | None:
        return None if self._digest is None or self._ahead else self._digest.hexdigest()


@dataclass(slots=True)
class _File:
    path: str
    flags: int
    sent: _Contents
    received: _Contents

    is_closed: bool = False

    def all_sent(self, result: str = "") -> Iterator[FileHandled]:
        """What went from the client to the target."""
        return self._told("sent", _WRITE, self.sent, result)

    def all_received(self, result: str = "") -> Iterator[FileHandled]:
        """What went from the target to the client."""
        return self._told("received", _READ, self.received, result)

    def _told(self, operation: str, flag: int, contents: _Contents, result: str) -> Iterator[FileHandled]:
        if contents.size or self.flags & (_READ | _WRITE) == flag:
            told = FileHandled(
                operation,
                self.path,
                size=contents.size,
                offset=contents.start or 0,
                sha256=contents.sha256,
                result=result,
            )
            contents.forget_digest()  # and what still waits
            yield told


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that waits for its answer. *told* is whether an answer is told that says no more than ok."""

    handled: FileHandled
    told: bool = True
    flags: int = 0
    file: _File | None = None
    offset: int = 0
    closes: _File | None = None


class SftpManifest:
    """The files of one SFTP session."""

    def __init__(self) -> None:
        self.from_client = Framing()
        self.from_target = Framing()
        self._asked: dict[int, _Asked] = {}
        self._files: dict[bytes, _File] = {}
        self._named = 0  # of what was asked, what names a file
        self._waiting = _Waiting()

    def asked(self, data: bytes) -> Iterator[FileHandled]:
        """What *data* of the client asks for. Raises Unreadable."""
        for packet in self.from_client.packets(data):
            if packet.kind is not Kind.INIT:
                yield from self._request(packet, packet.number())

    def answered(self, data: bytes) -> Iterator[FileHandled]:
        """What *data* of the target answers. Raises Unreadable."""
        for packet in self.from_target.packets(data):
            if packet.kind is Kind.VERSION:
                if packet.number() != 3:
                    raise Unreadable("not version 3 of SFTP")
            else:
                yield from self._answer(packet, packet.number())

    def end(self) -> Iterator[FileHandled]:
        """What went of files that were never closed."""
        for file in self._files.values():
            yield from file.all_sent("incomplete")
            yield from file.all_received("incomplete")
        for asked in self._asked.values():
            if asked.closes is not None:
                yield from asked.closes.all_received("incomplete")
        self._files.clear()
        self._asked.clear()

    def _request(self, packet: Packet, number: int) -> Iterator[FileHandled]:
        match packet.kind:
            case Kind.OPEN:
                path, flags = packet.path(), packet.number()
                words = [word for flag, word in ((_READ, "read"), (_WRITE, "write")) if flags & flag]
                handled = FileHandled(operation=f"open to {' and '.join(words) or 'look'}", path=path)
                yield self._ask(number, _Asked(handled, flags=flags))
            case Kind.READ:
                file, offset = self._file(packet), packet.number(8)
                self._ask(
                    number, _Asked(FileHandled("read", file.path), told=False, file=file, offset=offset)
                )
            case Kind.WRITE:
                file, offset = self._file(packet), packet.number(8)
                file.sent.take(offset, packet.last_string())
                self._ask(number, _Asked(FileHandled("write", file.path), told=False))
            case Kind.CLOSE:
                if (closed := self._files.pop(packet.string(), None)) is not None:
                    yield from closed.all_sent()
                    self._ask(number, _Asked(FileHandled("close", closed.path), told=False, closes=closed))
            case kind if kind not in _LOOKING:
                yield from self._change(packet, number)

    def _change(self, packet: Packet, number: int) -> Iterator[FileHandled]:
        match packet.kind:
            case Kind.SETSTAT | Kind.FSETSTAT:
                path = packet.path() if packet.kind is Kind.SETSTAT else self._file(packet).path
                size = packet.number(8) if packet.number() & _HAS_SIZE else None
                yield self._ask(number, _Asked(FileHandled("set attributes", path, size=size)))
            case Kind.RENAME:
                yield self._ask(number, _Asked(FileHandled("rename", packet.path(), to=packet.path())))
            case Kind.SYMLINK:  # in OpenSSH's order, which is not the draft's: what it points to comes first
                to, path = packet.path(), packet.path()
                yield self._ask(number, _Asked(FileHandled("symbolic link", path, to=to)))
            case Kind.EXTENDED:
                yield from self._extended(packet, number)
            case kind if kind in _ON_PATHS:
                yield self._ask(number, _Asked(FileHandled(_ON_PATHS[kind], packet.path())))
            case _:
                raise Unreadable("not a request")

    def _extended(self, packet: Packet, number: int) -> Iterator[FileHandled]:
        name = packet.path()
        if name in _LOOKING_EXTENSIONS:
            return
        if name in _ON_TWO_PATHS:
            handled = FileHandled(_ON_TWO_PATHS[name], packet.path(), to=packet.path())
        elif name == "lsetstat@openssh.com":
            handled = FileHandled("set attributes", packet.path())
        elif name == "copy-data":
            source, _, _, sink = self._file(packet), packet.number(8), packet.number(8), self._file(packet)
            sink.sent.forget_digest()
            handled = FileHandled("copy on the target", source.path, to=sink.path)
        else:
            handled = FileHandled(f"extension {name}", "")
        yield self._ask(number, _Asked(handled))

    def _ask(self, number: int, asked: _Asked) -> FileHandled:
        if number in self._asked:
            raise Unreadable("two requests of one number")
        self._named += asked.told
        if len(self._asked) >= MAX_ASKED or self._named > MAX_OPEN:
            raise Unreadable("too many requests without an answer")
        self._asked[number] = asked
        return asked.handled

    def _file(self, packet: Packet) -> _File:
        file = self._files.get(packet.string())
        if file is None:
            raise Unreadable("a handle that the target never gave")
        return file

    def _answer(self, packet: Packet, number: int) -> Iterator[FileHandled]:
        asked = self._asked.pop(number, None)
        self._named -= asked is not None and asked.told
        match packet.kind:
            case Kind.STATUS if asked is not None:
                code = packet.number()
                if asked.closes is not None:  # only now has everything come that was asked for before
                    asked.closes.is_closed = True
                    yield from asked.closes.all_received()
                if asked.told or code > 1:  # 1 is the end of a file, which every reader comes to
                    result = _RESULTS[code] if code < len(_RESULTS) else f"status {code}"
                    yield replace(asked.handled, result=result)
            case Kind.HANDLE if asked is not None:
                if len(self._files) >= MAX_OPEN:
                    raise Unreadable("too many open files")
                self._files[packet.string()] = _File(
                    asked.handled.path, asked.flags, _Contents(self._waiting), _Contents(self._waiting)
                )
                yield replace(asked.handled, result="ok")
            case Kind.DATA if asked is not None and asked.file is not None and not asked.file.is_closed:
                asked.file.received.take(asked.offset, packet.last_string())
            case Kind.EXTENDED_REPLY if asked is not None:
                yield replace(asked.handled, result="ok")
            case Kind.HANDLE | Kind.DATA:
                raise Unreadable("an answer that nobody asked for")
            case Kind.STATUS | Kind.NAME | Kind.ATTRS | Kind.EXTENDED_REPLY if asked is None:
                return  # to somebody who looks around
            case _:
                raise Unreadable("an answer to something else")
