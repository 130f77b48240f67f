"""Compressed contents made plain, as far as it goes: zlib, zstd and LZ4 as rsync uses them.

What cannot be made plain costs the digest and the count of bytes, never the manifest. A few compressed bytes may stand
for millions of plain ones, and the time these take is everybody's, so there is a limit to what is made of a session's.
"""

from __future__ import annotations

import sys
import zlib
from typing import Protocol

import lz4.block  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FREE = 512 * 1024 * 1024
FACTOR = 100
"""Plain bytes of a session: so many, and so many for each compressed one. Logs come to 80 for one."""

MAX_LZ4 = 64 * 1024
"""Plain bytes of one piece of LZ4: rsync takes 32 KiB and a bit."""

MAX_WINDOW_LOG = 23
"""zstd may look back 8 MiB. Its levels up to 19 do with that."""

_STEP = 1024 * 1024
_FLUSHED = b"\0\0\xff\xff"
"""What the sender takes away behind each piece, since it is always the same."""


class Plain(Protocol):
    """Takes plain bytes."""

    def take(self, data: bytes) -> None: ...
    def lose(self) -> None: ...


class Expander(Protocol):
    """Makes plain what came compressed, file after file."""

    def begin(self) -> None:
        """A file begins."""
        ...

    def expand(self, data: bytes, plain: Plain) -> None: ...

    def pause(self, plain: Plain) -> None:
        """No more compressed data for now."""
        ...

    def matched(self) -> None:
        """The receiver takes a block of its old copy."""
        ...


class Allowance:
    """What may still be made of a session."""

    def __init__(self) -> None:
        self._left = FREE

    def earn(self, packed: bytes) -> None:
        self._left += FACTOR * len(packed)

    def spend(self, plain: bytes) -> bool:
        """Whether that was still allowed."""
        self._left -= len(plain)
        return self._left >= 0


class Inflation:
    """zlib. Where *remembers*, the receiver's old blocks are in its window too, and what follows stays dark."""

    def __init__(self, *, remembers: bool) -> None:
        self._remembers = remembers
        self._allowance = Allowance()
        self._is_dark = False
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)

    def begin(self) -> None:
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._is_dark = False

    def expand(self, data: bytes, plain: Plain) -> None:
        self._allowance.earn(data)
        has_more = True
        while has_more and not self._is_dark:
            try:
                made = self._inflate.decompress(data, _STEP)
            except zlib.error:
                self._is_dark = True
                break
            plain.take(made)
            self._is_dark = self._inflate.eof or not self._allowance.spend(made)
            data = self._inflate.unconsumed_tail
            has_more = bool(data) or len(made) == _STEP
        if self._is_dark:
            plain.lose()

    def pause(self, plain: Plain) -> None:
        self.expand(_FLUSHED, plain)

    def matched(self) -> None:
        self._is_dark |= self._remembers


class Zstd:
    """One stream over all files: what is missed once is missed for good."""

    def __init__(self) -> None:
        options = {int(zstd.DecompressionParameter.window_log_max): MAX_WINDOW_LOG}
        self._expand = zstd.ZstdDecompressor(options=options)
        self._is_dark = False
        self._allowance = Allowance()

    def begin(self) -> None:
        pass

    def expand(self, data: bytes, plain: Plain) -> None:
        self._allowance.earn(data)
        while not self._is_dark:
            try:
                made = self._expand.decompress(data, _STEP)
            except zstd.ZstdError:
                self._is_dark = True
                break
            plain.take(made)
            self._is_dark = self._expand.eof or not self._allowance.spend(made)
            data = b""
            if self._expand.needs_input:
                break
        if self._is_dark:
            plain.lose()

    def pause(self, plain: Plain) -> None:
        pass

    def matched(self) -> None:
        pass


class Lz4:
    """Each piece by itself."""

    def begin(self) -> None:
        pass

    def expand(self, data: bytes, plain: Plain) -> None:
        try:
            plain.take(lz4.block.decompress(data, uncompressed_size=MAX_LZ4))
        except lz4.block.LZ4BlockError:
            plain.lose()

    def pause(self, plain: Plain) -> None:
        pass

    def matched(self) -> None:
        pass


def expander_of(compression: str) -> Expander | None:
    """What makes plain what is compressed so; None where nothing is."""
    match compression:
        case "zlib" | "zlibx":
            return Inflation(remembers=compression == "zlib")
        case "zstd":
            return Zstd()
        case "lz4":
            return Lz4()
        case _:
            return None
