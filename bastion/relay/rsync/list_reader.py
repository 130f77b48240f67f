"""Reads lists of files out of the sender's stream, one entry after the other.

The flags of an entry say what is left out of it, since it is as in the entry before; the options of the run, what is in
there at all. Of what a manifest does not need is read only how long it is.
"""

from __future__ import annotations

import stat

from bastion.relay.rsync.agreement import Agreement
from bastion.relay.rsync.file_list import Entry, FileList
from bastion.relay.rsync.wire import Reading, Stream
from bastion.relay.sftp_packets import MAX_PATH, Unreadable

MAX_ATTRIBUTES = 64 * 1024
"""Entries of one access control list, or extended attributes of one file."""

_TOP, _SAME_MODE, _EXTENDED, _SAME_UID, _SAME_GID, _SAME_NAME, _LONG_NAME, _SAME_TIME = (
    1 << n for n in range(8)
)
_SAME_MAJOR = _NO_CONTENTS = 1 << 8
_LINKED = 1 << 9
_USER_NAME = _SAME_DEVICE = 1 << 10
_GROUP_NAME = _SHORT_MINOR = 1 << 11
_FIRST_LINKED = _LIST_ENDS = 1 << 12
_NANOSECONDS = 1 << 13
_SAME_ACCESS = 1 << 14
_CREATED_AS_CHANGED = 1 << 17
_FULL_ATTRIBUTE = 32
_DEVICES = (stat.S_IFBLK, stat.S_IFCHR)
_SPECIALS = (stat.S_IFIFO, stat.S_IFSOCK)


class ListReader:
    """Reads lists out of a stream; what an entry leaves out is as in the one before."""

    def __init__(self, stream: Stream, agreement: Agreement, files: FileList) -> None:
        self.has_failed = False  # the sender could not read all of its disk
        self._stream = stream
        self._agreement = agreement
        self._files = files
        self._name = b""
        self._mode = 0
        self._acls = [0, 0]
        self._attributes = 0

    def read(self, folder: int | None) -> Reading[list[Entry]]:
        """One list up to its end, added to the files."""
        entries: list[Entry] = []
        keys: list[bytes] = []  # made here and not when they are sorted, which holds up everybody else
        weight = 0
        while flags := (yield from self._flags()):
            entry = yield from self._entry(flags, entries)
            entries.append(entry)
            keys.append(self._files.key(entry))
            weight += entry.weight
            if not self._files.admits(len(entries), weight):
                raise Unreadable("more files than can be kept in mind")
        self._files.add(entries, keys, folder)
        return entries

    def read_owners(self) -> Reading[None]:
        """What comes behind a list that is whole: names of users and groups, and in old protocols errors."""
        options, agreement = self._agreement.options, self._agreement
        if not agreement.incremental and not options.numeric_ids:
            for letter in "og":
                if letter in options.letters or "A" in options.letters:
                    yield from self._names()
        if agreement.version < 30:
            self.has_failed |= bool((yield from self._stream.integer()))

    def _names(self) -> Reading[None]:
        stream = self._stream
        while (yield from stream.varint() if self._agreement.version >= 30 else stream.integer()):
            yield from self._owner()
        if self._agreement.names_root:
            yield from self._owner()

    def _owner(self) -> Reading[None]:
        yield from self._stream.skip((yield from self._stream.byte()))

    def _flags(self) -> Reading[int]:
        """What is left out of the next entry; 0 at the end of the list."""
        stream = self._stream
        if self._agreement.has_long_flags:
            flags = yield from stream.varint()
            if not flags:
                self.has_failed |= bool((yield from stream.varint()))
            return flags
        flags = yield from stream.byte()
        if flags & _EXTENDED and self._agreement.version >= 28:
            flags |= (yield from stream.byte()) << 8
            if flags == _EXTENDED | _LIST_ENDS and self._agreement.version >= 31:
                self.has_failed |= bool((yield from stream.varint()))
                return 0
        return flags

    def _entry(self, flags: int, entries: list[Entry]) -> Reading[Entry]:
        stream, options, version = self._stream, self._agreement.options, self._agreement.version
        name = self._name = yield from self._full_name(flags)
        if version >= 30 and flags & (_LINKED | _FIRST_LINKED) == _LINKED:
            first = yield from self._linked(entries)
            if first is not None:  # all else is as with that one
                self._mode = first.mode
                yield from self._attached(first.mode)
                return Entry(name, first.mode, first.size, first.to)
        size = (yield from stream.varlong(3)) if version >= 30 else (yield from stream.longint())
        if not 0 <= size < 1 << 63:
            raise Unreadable("a size that no file has")
        yield from self._times(flags)
        if not flags & _SAME_MODE:
            self._mode = (yield from stream.integer()) & 0o177777
        mode, kind = self._mode, stat.S_IFMT(self._mode)
        if "U" in options.letters and kind != stat.S_IFDIR and not flags & _SAME_ACCESS:
            yield from stream.varlong(4)
        yield from self._owners(flags)
        if (kind in _DEVICES and options.devices) or (
            kind in _SPECIALS and options.specials and version < 31
        ):
            yield from self._device(flags)
            size = 0
        to = b""
        if kind == stat.S_IFLNK and "l" in options.letters:
            to = yield from self._long_field()
        yield from self._inode(flags)
        if "c" in options.letters and (kind == stat.S_IFREG or version < 28):
            yield from stream.skip(self._agreement.list_checksum.size)
        yield from self._attached(mode)
        lists = kind == stat.S_IFDIR and not flags & _NO_CONTENTS and "r" in options.letters
        return Entry(name, mode, size, to, lists)

    def _linked(self, entries: list[Entry]) -> Reading[Entry | None]:
        """The first file of those that are one, if it is of this list."""
        place = (yield from self._stream.varint()) - self._files.next_start
        if place >= len(entries):
            raise Unreadable("a link to a file that was never listed")
        return entries[place] if place >= 0 else None

    def _inode(self, flags: int) -> Reading[None]:
        """What tells files that are one, in old protocols."""
        version = self._agreement.version
        has_inode = flags & _LINKED if version >= 28 else stat.S_ISREG(self._mode)
        if version < 30 and has_inode and "H" in self._agreement.options.letters:
            if not flags & _SAME_DEVICE:
                yield from self._stream.longint()
            yield from self._stream.longint()

    def _full_name(self, flags: int) -> Reading[bytes]:
        shared = (yield from self._stream.byte()) if flags & _SAME_NAME else 0
        if flags & _LONG_NAME:
            own = yield from self._long_field()
        else:
            own = yield from self._stream.take((yield from self._stream.byte()))
        name = self._name[:shared] + own
        if not name or len(name) > MAX_PATH:
            raise Unreadable("a name that is no file's")
        return name

    def _number(self) -> Reading[int]:
        """A number that has four bytes in old protocols."""
        if self._agreement.version >= 30:
            return (yield from self._stream.varint())
        return (yield from self._stream.integer())

    def _long_field(self) -> Reading[bytes]:
        length = yield from self._number()
        if not 0 <= length <= MAX_PATH:
            raise Unreadable("a path that is longer than any")
        return (yield from self._stream.take(length))

    def _times(self, flags: int) -> Reading[None]:
        stream = self._stream
        if not flags & _SAME_TIME:
            yield from stream.varlong(4) if self._agreement.version >= 30 else stream.integer()
        if flags & _NANOSECONDS:
            yield from stream.varint()
        if "N" in self._agreement.options.letters and not flags & _CREATED_AS_CHANGED:
            yield from stream.varlong(4)

    def _owners(self, flags: int) -> Reading[None]:
        for letter, same, named in (("o", _SAME_UID, _USER_NAME), ("g", _SAME_GID, _GROUP_NAME)):
            if letter in self._agreement.options.letters and not flags & same:
                yield from self._number()
                if flags & named and self._agreement.version >= 30:
                    yield from self._owner()

    def _device(self, flags: int) -> Reading[None]:
        stream, version = self._stream, self._agreement.version
        if version < 28:
            if not flags & _EXTENDED:  # there it says that the device is as before
                yield from stream.integer()
            return
        if not flags & _SAME_MAJOR:
            yield from self._number()
        if version >= 30:
            yield from stream.varint()
        else:
            yield from stream.byte() if flags & _SHORT_MINOR else stream.integer()

    def _attached(self, mode: int) -> Reading[None]:
        """Access control lists and extended attributes: those that came before have a number."""
        letters = self._agreement.options.letters
        if "A" in letters and not stat.S_ISLNK(mode):
            yield from self._acl(0)
            if stat.S_ISDIR(mode):
                yield from self._acl(1)
        if "X" in letters:
            yield from self._extended_attributes()

    def _acl(self, which: int) -> Reading[None]:
        stream = self._stream
        if (yield from self._known(self._acls[which])):
            return
        self._acls[which] += 1
        flags = yield from stream.byte()
        for bit in range(4):
            if flags & 1 << bit:
                yield from stream.varint()
        if flags & 1 << 4:
            for _ in range((yield from self._count())):
                yield from stream.varint()
                if (yield from stream.varint()) & 1:
                    yield from self._owner()

    def _extended_attributes(self) -> Reading[None]:
        stream = self._stream
        if (yield from self._known(self._attributes)):
            return
        self._attributes += 1
        for _ in range((yield from self._count())):
            name, length = (yield from stream.varint()), (yield from stream.varint())
            if name < 0 or length < 0:
                raise Unreadable("an attribute of less than no bytes")
            if length > _FULL_ATTRIBUTE:
                length = self._agreement.attribute_digest
            yield from stream.skip(name + length)

    def _known(self, most: int) -> Reading[bool]:
        number = yield from self._stream.varint()
        if not 0 <= number <= most:
            raise Unreadable("the number of something that never came")
        return number > 0

    def _count(self) -> Reading[int]:
        count = yield from self._stream.varint()
        if not 0 <= count <= MAX_ATTRIBUTES:
            raise Unreadable("more attributes than any file has")
        return count
