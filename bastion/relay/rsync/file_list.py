"""The lists of files that the sender tells the receiver of, and the numbers that files have in them.

A list may come whole, or folder by folder while files already pass. Of each file is kept what a manifest needs, while
something may still be said of it, and of all of them no more than `MAX_FILES` and `MAX_NAMES`.
"""

from __future__ import annotations

import stat
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field

from bastion.relay.rsync.agreement import Agreement
from bastion.relay.sftp_packets import Unreadable

MAX_FILES = 200_000
"""Files that are kept in mind. A list that comes folder by folder has a few thousand at a time."""

MAX_NAMES = 32 * 1024 * 1024
"""Bytes of their names, and of what links point to."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a list: what it is called, what it is (a kind of `stat`), what it has, what it points to."""

    name: bytes
    mode: int
    size: int = 0
    to: bytes = b""
    lists: bool = False

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def weight(self) -> int:
        return len(self.name) + len(self.to)


@dataclass(slots=True)
class Segment:
    """One list: the files of *folder*, numbered from *start* on. *sent* has those whose contents went."""

    start: int
    folder: Entry | None
    entries: list[Entry]
    sent: set[int] = field(default_factory=set)


class FileList:
    """All lists of one run."""

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self.segments: deque[Segment] = deque()
        self._folders: list[Entry] = []
        self._next = 1 if agreement.incremental else 0
        self._kept = self._weight = 0

    def add(self, entries: list[Entry], keys: list[bytes], folder: int | None) -> None:
        """Take in a list as it was read, and the `key` of each; *folder* is the number of the one it is of.

        Raises Unreadable.
        """
        if folder is not None and folder >= len(self._folders):
            raise Unreadable("a list of a folder that was never named")
        ordered = entries
        if not self._agreement.options.keeps_order:
            ordered = [entries[place] for place in sorted(range(len(entries)), key=keys.__getitem__)]
        folders = [entry for entry in ordered if entry.is_folder and self._agreement.incremental]
        self._folders += folders
        for kept in (entries, folders):  # the latter for good
            self._kept += len(kept)
            self._weight += sum(entry.weight for entry in kept)
        parent = None if folder is None else self._folders[folder]
        if not self.segments and ordered and ordered[0].name == b".":
            parent = ordered[0]
        self.segments.append(Segment(self._next, parent, ordered))
        self._next += len(entries) + 1

    def drop(self) -> None:
        """Forget the first list: all has been said of it."""
        for entry in self.segments.popleft().entries:
            self._kept -= 1
            self._weight -= entry.weight

    def find(self, index: int) -> tuple[Segment, Entry]:
        """The file of that number. Raises Unreadable."""
        at = bisect_right(self.segments, index, key=lambda segment: segment.start - 1) - 1
        if at >= 0:
            segment = self.segments[at]
            place = index - segment.start
            if place < 0 and segment.folder is not None:
                return segment, segment.folder
            if 0 <= place < len(segment.entries):
                return segment, segment.entries[place]
        raise Unreadable("the number of a file that was never listed")

    def admits(self, entries: int, weight: int) -> bool:
        """Whether so many more files with so long names can be kept in mind."""
        return self._kept + entries <= MAX_FILES and self._weight + weight <= MAX_NAMES

    @property
    def next_start(self) -> int:
        return self._next

    def key(self, entry: Entry) -> bytes:
        """What entries are sorted by: in each folder its files, then its folders with all that is in them."""
        if self._agreement.version < 29:
            return entry.name
        *folders, name = entry.name.split(b"/")
        place = b"".join(b"\1" + folder + b"/" for folder in folders)
        if not entry.is_folder:
            return place + b"\0" + name
        return place + (b"\0" if name == b"." else b"\1" + name + b"/")
