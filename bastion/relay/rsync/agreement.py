"""What the two sides agree upon before the first file: version, abilities, checksums and compression.

Both say their version, the server its abilities and a seed; newer ones say which checksums and compressions they know,
of which the first of the client's counts that the server has too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bastion.relay.rsync.wire import Reading, Stream
from bastion.relay.sftp_packets import Unreadable
from bastion.sessions.rsync_options import Options

OLDEST, NEWEST = 27, 32

_INCREMENTAL = 1 << 0
_KEEPS_ATTRIBUTES = 1 << 4
_LONG_FLAGS = 1 << 7
_NAMES_ROOT = 1 << 8
_KNOWN = (1 << 9) - 1
_MAX_SECLUDED = 64 * 1024


@dataclass(frozen=True, slots=True)
class Checksum:
    """A kind of checksum, by its name and its bytes on the wire."""

    name: str
    size: int

    def told(self, digest: bytes) -> str:
        """The name and the digest as people write them: rsync sends those of xxHash backwards."""
        return f"{self.name} {(digest[::-1] if self.name.startswith('xxh') else digest).hex()}"


_CHECKSUMS = {
    name: Checksum(name, size)
    for name, size in {
        "xxh128": 16, "xxh3": 8, "xxh64": 8, "xxhash": 8, "md5": 16, "md4": 16, "sha1": 20, "none": 1,
    }.items()
}  # fmt: skip
_COMPRESSIONS = frozenset({"", "zlib", "zlibx", "zstd", "lz4"})


@dataclass(slots=True)
class Agreement:
    """Of one run, as far as it is known. *options* may come last, where they are secluded."""

    options: Options
    version: int = 0
    flags: int = 0
    checksum: Checksum = _CHECKSUMS["md4"]
    list_checksum: Checksum = _CHECKSUMS["md4"]
    compression: str = ""
    attribute_digest: int = 16
    is_reached: bool = False
    _said: dict[str, int] = field(default_factory=dict)
    _known: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """How far it is."""
        return len(self._said) + len(self._known) + self.is_reached

    @property
    def incremental(self) -> bool:
        """Whether the file list comes folder by folder."""
        return bool(self.flags & _INCREMENTAL)

    @property
    def has_long_flags(self) -> bool:
        return bool(self.flags & _LONG_FLAGS)

    @property
    def names_root(self) -> bool:
        return bool(self.flags & _NAMES_ROOT)

    @property
    def spares_attributes(self) -> bool:
        """Whether no extended attributes are asked for of what is linked to something that has them."""
        return self.version >= 31 and not self.flags & _KEEPS_ATTRIBUTES

    @property
    def phases(self) -> int:
        return 2 if self.version >= 29 else 1

    def greeting_of_client(self, stream: Stream) -> Reading[None]:
        """What the client says first. Afterwards it waits for the server."""
        yield from self._version(stream, "client")
        while "server" not in self._said or (self.version >= 30 and "flags" not in self._said):
            yield
        yield from self._names(stream, "client")
        self._said["names"] = 0
        while not self.is_reached:
            yield

    def greeting_of_server(self, stream: Stream) -> Reading[None]:
        """What the server says first, up to the seed, with which all is agreed."""
        yield from self._version(stream, "server")
        while "client" not in self._said:
            yield
        if self.version >= 30:
            self.flags = yield from stream.varint()
            self._said["flags"] = self.flags
            if self.flags & ~_KNOWN:
                raise Unreadable("abilities that are not known here")
        yield from self._names(stream, "server")
        while "names" not in self._said:  # the server waits for the client's, too
            yield
        yield from stream.integer()  # the seed of checksums
        self._conclude()

    def _version(self, stream: Stream, side: str) -> Reading[None]:
        version = yield from stream.integer()
        if not OLDEST <= version <= 255:
            raise Unreadable("no version of rsync's protocol that is known here")
        self._said[side] = version
        if len(self._said) == 2:
            self.version = min(self._said.values())
            if self.version > NEWEST:
                raise Unreadable(f"version {self.version} of rsync's protocol")

    def _names(self, stream: Stream, side: str) -> Reading[None]:
        if self.has_long_flags:
            if not self.options.checksums:
                self._known[side, "checksum"] = yield from _words(stream)
            if self.options.compress is None:
                self._known[side, "compression"] = yield from _words(stream)

    def _choice(self, kind: str, otherwise: str) -> str:
        if ("server", kind) not in self._known:
            return otherwise
        theirs = self._known["server", kind]
        return next((word for word in self._known["client", kind] if word in theirs), otherwise)

    def _conclude(self) -> None:
        default = self._choice("checksum", "md5" if self.version >= 30 else "md4")
        names = [default if name == "auto" else name for name in self.options.checksums or (default,)]
        self.checksum, self.list_checksum = _checksum(names[0]), _checksum(names[-1])
        compress = self.options.compress
        self.compression = self._choice("compression", "zlib") if compress is None else compress
        if self.compression == "none":
            self.compression = ""
        if self.compression not in _COMPRESSIONS:
            raise Unreadable("a compression that is not known here")
        self.is_reached = True


def secluded(stream: Stream) -> Reading[list[str]]:
    """The words that come over the connection: each with a zero byte behind it, and one more at the end."""
    words, word, left = [], bytearray(), _MAX_SECLUDED
    while True:
        byte = yield from stream.byte()
        left -= 1
        if left < 0:
            raise Unreadable("more options than any command has")
        if byte:
            word.append(byte)
        elif word:
            words.append(word.decode("utf-8", "backslashreplace"))
            word.clear()
        else:
            return words


def _words(stream: Stream) -> Reading[list[str]]:
    return (yield from stream.string()).decode("utf-8", "backslashreplace").split()


def _checksum(name: str) -> Checksum:
    if (checksum := _CHECKSUMS.get(name)) is None:
        raise Unreadable("a checksum that is not known here")
    return checksum
