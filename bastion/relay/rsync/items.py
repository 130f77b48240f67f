"""What stands behind the number of a file, from both sides: what is different about it, and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass

from bastion.relay.rsync.agreement import Agreement
from bastion.relay.rsync.wire import Reading, Stream
from bastion.relay.sftp_packets import Unreadable

_REPORTS = 0x01FF
_ATTRIBUTES = 1 << 8
_BASIS = 1 << 11
_NAMED = 1 << 12
_NEW = 1 << 13
_LOCAL = 1 << 14
_TRANSFER = 1 << 15


@dataclass(frozen=True, slots=True)
class Item:
    """The flags of one file; *link* is what it was linked or copied from. In a *trial* nothing is sent."""

    flags: int
    link: bytes = b""
    is_trial: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether the receiver wants the contents."""
        return bool(self.flags & _TRANSFER)

    @property
    def has_contents(self) -> bool:
        return self.is_wanted and not self.is_trial

    @property
    def is_new(self) -> bool:
        return bool(self.flags & _NEW)

    @property
    def is_made(self) -> bool:
        """Whether the receiver made it out of what it has."""
        return bool(self.flags & _LOCAL)

    @property
    def is_changed(self) -> bool:
        """Whether the receiver sets some attribute."""
        return bool(self.flags & _REPORTS)

    @property
    def is_keepalive(self) -> bool:
        """Whether it may mean nothing (before protocol 30)."""
        return self.flags == _NEW


def read_item(stream: Stream, agreement: Agreement, *, with_values: bool) -> Reading[Item]:
    """One item; the sender tells the values of the attributes that were asked for."""
    options = agreement.options
    if agreement.version < 29:
        return Item(_TRANSFER, is_trial=options.is_trial)
    flags = yield from stream.short()
    if flags & _BASIS:
        yield from stream.byte()
    link = (yield from stream.string()) if flags & _NAMED else b""
    is_spared = agreement.spares_attributes and flags & (_NAMED | _LOCAL) == _NAMED | _LOCAL
    if "X" in options.letters and flags & _ATTRIBUTES and not options.is_trial and not is_spared:
        while (yield from stream.varint()):
            if with_values:
                length = yield from stream.varint()
                if length < 0:
                    raise Unreadable("an attribute of less than no bytes")
                yield from stream.skip(length)
    return Item(flags, link, options.is_trial)
