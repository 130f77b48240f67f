"""What one run of rsync does to files, told from the two directions of its protocol.

A file that is read from the target is told of when the client asks for it, one that is written when its contents
begin; and again, with their digest, when their checksum comes behind them, before that is passed on: without it the
receiver takes nothing. What the target makes besides (folders, links, attributes) is told when it says so. Sans I/O:
bytes go in, events come out.

Only what is understood may go untold: the rest raises `Unreadable`, for the bytes to be recorded instead.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from bastion.relay.rsync.contents import Contents
from bastion.relay.rsync.conversation import Conversation
from bastion.relay.rsync.file_list import Entry, FileList
from bastion.relay.rsync.items import Item
from bastion.relay.rsync.wire import Stream, Tag
from bastion.sessions.rsync_options import Options
from recorder.events import FileHandled

_COMPLAINTS = (Tag.ERROR_XFER, Tag.ERROR, Tag.WARNING, Tag.ERROR_SOCKET, Tag.ERROR_UTF8)
_MADE = {stat.S_IFDIR: "make folder", stat.S_IFLNK: "symbolic link", stat.S_IFREG: "copy on the target"}


class RsyncManifest:
    """The files of one run of rsync, started by *words* behind its name."""

    def __init__(self, words: Sequence[str]) -> None:
        self._heard = _Heard()
        self._conversation = Conversation(list(words), self._heard)
        self.from_client, self.from_target = self._conversation.client, self._conversation.target

    def asked(self, data: bytes) -> Iterator[FileHandled]:
        """What *data* of the client says. Raises Unreadable."""
        return self._said(self.from_client, data)

    def answered(self, data: bytes) -> Iterator[FileHandled]:
        """What *data* of the target says. Raises Unreadable."""
        return self._said(self.from_target, data)

    def end(self) -> Iterator[FileHandled]:
        """What went of a file that did not come to its end, and how the run ended."""
        self._heard.end()
        return iter(self._heard.take())

    def _said(self, stream: Stream, data: bytes) -> Iterator[FileHandled]:
        try:
            self._conversation.feed(stream, data)
        finally:
            yield from self._heard.take()


class _Heard:
    """What a conversation means for files."""

    def __init__(self) -> None:
        self._told: list[FileHandled] = []
        self._options: Options | None = None
        self._opening = self._passing = ""
        self._sending: tuple[Entry, Contents] | None = None
        self._is_over = self._has_failed = False

    def take(self) -> list[FileHandled]:
        """What is to be told now."""
        told, self._told = self._told, []
        return told

    def agreed(self, options: Options) -> None:
        self._options = options
        self._opening = "open to write" if self._uploads else "open to read"
        self._passing = "sent" if self._uploads else "received"
        self._run("")

    def listed(self, entries: list[Entry]) -> None:
        if not self._uploads:
            self._told += [
                FileHandled("list", _text(entry.name), result="ok") for entry in entries if entry.lists
            ]

    def asked(self, entry: Entry, item: Item, *, again: bool) -> None:
        if again and item.has_contents:
            self._tell(self._passing, entry, result="not what the sender has: again")
        if item.has_contents and not self._uploads:
            self._tell(self._opening, entry, size=entry.size)
        elif self._uploads and not item.has_contents and not item.is_trial:
            self._made(entry, item)

    def begun(self, entry: Entry, contents: Contents) -> None:
        if self._uploads:
            self._tell(self._opening, entry, size=entry.size)
        self._sending = entry, contents

    def ended(self, entry: Entry, contents: Contents, checksum: str) -> None:
        self._sending = None
        self._contents(entry, contents, checksum=checksum)

    def over(self, *, has_failed: bool) -> None:
        self._is_over = True
        self._has_failed |= has_failed

    def message(self, stream: Stream, tag: Tag, text: bytes, files: FileList | None) -> None:
        index = int.from_bytes(text[:4], "little")
        match tag:
            case Tag.DELETED if stream.side == "the target":
                operation = "remove folder" if text.endswith(b"\0") else "remove"
                self._told.append(FileHandled(operation, _text(text.rstrip(b"\0")), result="ok"))
            case Tag.SUCCESS if files is not None and self._options and self._options.removes_sources:
                if not self._uploads:
                    self._tell("remove", files.find(index)[1])
            case Tag.NO_SEND if files is not None:
                self._has_failed = True
                self._tell(self._opening, files.find(index)[1], result="not sent")
            case Tag.IO_ERROR:
                self._has_failed = True
            case _ if tag in _COMPLAINTS:
                self._has_failed |= tag is not Tag.WARNING
                self._told.append(FileHandled("complaint", "", result=_text(text).strip() or "failure"))

    def end(self) -> None:
        if self._sending is not None:
            self._contents(*self._sending, result="incomplete")
            self._sending = None
        if self._options is not None:
            self._run(("with errors" if self._has_failed else "complete") if self._is_over else "incomplete")
        self._options = None

    @property
    def _uploads(self) -> bool:
        return self._options is not None and self._options.direction == "upload"

    def _run(self, result: str) -> None:
        """The run itself, of each path that was named."""
        assert self._options is not None
        flags = {"--delete": self._options.deletes, "--dry-run": self._options.is_trial}
        words = ["rsync", self._options.direction, *(flag for flag, is_set in flags.items() if is_set)]
        self._told += [
            FileHandled(" ".join(words), path, result=result) for path in self._options.paths or ("",)
        ]

    def _made(self, entry: Entry, item: Item) -> None:
        kind, name = stat.S_IFMT(entry.mode), _text(entry.name)
        if item.is_made and item.link:
            self._told.append(FileHandled("link", _text(item.link), to=name, result="ok"))
        elif item.is_made and (item.is_new or kind == stat.S_IFLNK):
            self._tell(_MADE.get(kind, "make special file"), entry, to=_text(entry.to), result="ok")
        elif item.is_changed:
            self._tell("set attributes", entry, result="ok")

    def _contents(self, entry: Entry, contents: Contents, *, checksum: str = "", result: str = "") -> None:
        size = contents.passed
        if size is None:  # compressed in a way that nobody outside can read: what the list said of it
            size = max(0, entry.size - contents.offset - contents.reused)
        self._tell(
            self._passing,
            entry,
            size=size,
            offset=contents.offset,
            reused=contents.reused or None,
            sha256=contents.sha256,
            checksum=checksum if contents.sha256 is None else "",
            result=result,
        )

    def _tell(
        self,
        operation: str,
        entry: Entry,
        *,
        to: str = "",
        size: int | None = None,
        offset: int = 0,
        reused: int | None = None,
        sha256: str | None = None,
        checksum: str = "",
        result: str = "",
    ) -> None:
        self._told.append(
            FileHandled(operation, _text(entry.name), to, size, offset, sha256, result, reused, checksum)
        )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
