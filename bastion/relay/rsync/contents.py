"""The contents of one file as they pass: what went over the wire, what the receiver had already, and the digest.

A file comes as pieces of new bytes between blocks of the receiver's old copy. Only where no block is taken from there
did all bytes pass, and only then is there a digest of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from bastion.relay.rsync.compression import Expander
from bastion.relay.rsync.wire import Reading, Stream
from bastion.relay.sftp_packets import Unreadable

_MAX_BLOCK = 1 << 29
_DATA, _LONG, _RELATIVE = 0x40, 0x20, 0x80
_RUN = 1


@dataclass(frozen=True, slots=True)
class Blocks:
    """How the receiver cut its old copy into blocks, the last of which may be shorter; *digest* is bytes a block."""

    count: int
    length: int
    digest: int
    last: int

    @property
    def size(self) -> int:
        return self.count * self.length - (self.length - self.last if self.last else 0)

    def length_of(self, block: int) -> int:
        """Bytes of a block. Raises Unreadable if there is none of that number."""
        if not 0 <= block < self.count:
            raise Unreadable("a block that the receiver has not")
        return self.last if self.last and block == self.count - 1 else self.length


def read_blocks(stream: Stream) -> Reading[Blocks]:
    """The four numbers in front of the sums of blocks."""
    count, length = (yield from stream.integer()), (yield from stream.integer())
    digest, last = (yield from stream.integer()), (yield from stream.integer())
    blocks = Blocks(count, length, digest, last)
    if min(count, length, digest, last) < 0 or length > _MAX_BLOCK or digest > 64 or last > length:
        raise Unreadable("blocks that no file has")
    return blocks


def skip_sums(stream: Stream, *, appends: bool) -> Reading[None]:
    """What the receiver tells of its old copy: sums of its blocks, none if only the end of the file is wanted."""
    blocks = yield from read_blocks(stream)
    if not appends:
        yield from stream.skip(blocks.count * (4 + blocks.digest))


class Contents:
    """Of a file while it passes. *passed* and *reused* count bytes; *passed* is None once nobody can tell."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.passed: int | None = 0
        self.reused = 0
        self._digest: hashlib._Hash | None = hashlib.sha256()

    @property
    def sha256(self) -> str | None:
        return None if self._digest is None else self._digest.hexdigest()

    def take(self, data: bytes) -> None:
        """New bytes."""
        if self.passed is not None:
            self.passed += len(data)
        if self._digest is not None:
            self._digest.update(data)

    def reuse(self, size: int) -> None:
        """Bytes of the old copy."""
        self.reused += size
        self._digest = None
        if self.reused >= 1 << 62:
            raise Unreadable("more blocks than any file has")

    def lose(self) -> None:
        """New bytes that cannot be told."""
        self.passed = self._digest = None


def read_plain(stream: Stream, blocks: Blocks, contents: Contents) -> Reading[None]:
    """Contents as they are, up to their end."""
    while token := (yield from stream.integer()):
        if token < 0:
            contents.reuse(blocks.length_of(-(token + 1)))
        while token > 0:
            data = yield from stream.some(token)
            contents.take(data)
            token -= len(data)


def read_compressed(stream: Stream, blocks: Blocks, contents: Contents, expander: Expander) -> Reading[None]:
    """Compressed contents, up to their end."""
    expander.begin()
    block, had_data = 0, False
    while flag := (yield from stream.byte()):
        if flag & 0xC0 == _DATA:
            packed = yield from stream.take((flag & 0x3F) << 8 | (yield from stream.byte()))
            expander.expand(packed, contents)
            had_data = True
            continue
        if had_data:
            expander.pause(contents)
            had_data = False
        if flag & _RELATIVE:
            block += flag & 0x3F
            flag >>= 6
        elif flag & ~_RUN == _LONG:
            block = yield from stream.integer()
        else:
            raise Unreadable("no token of rsync's")
        run = (yield from stream.short()) if flag & _RUN else 0
        _reuse(blocks, contents, block, run)
        block += run
        expander.matched()
    if had_data:
        expander.pause(contents)


def _reuse(blocks: Blocks, contents: Contents, block: int, run: int) -> None:
    last = blocks.length_of(block + run)
    contents.reuse(last + run * blocks.length if run else last)
    blocks.length_of(block)
