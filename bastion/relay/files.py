"""What of a session goes into its recording: everything as it is, or, of a file protocol, a manifest of the files.

The relay asks before it passes anything on, so that an operation is on record before it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from bastion.relay.rsync.manifest import RsyncManifest
from bastion.relay.scp_manifest import ScpManifest
from bastion.relay.sftp_manifest import SftpManifest
from bastion.relay.sftp_packets import Unreadable
from bastion.runtime.logs import printable
from bastion.sessions.copying import Copy
from recorder.events import Event, FileHandled, Input, Noted, Output

_SHOWN_PATH = 200
"""Characters of a path that the note for people shows; the fact has all."""


class Account(Protocol):
    """Turns what passes into what is recorded of it."""

    def upward(self, events: Sequence[Event]) -> Sequence[Event]:
        """What to record of *events* of the client."""
        ...

    def downward(self, events: Sequence[Event]) -> Sequence[Event]:
        """What to record of *events* of the target."""
        ...

    def end(self) -> Sequence[Event]:
        """What is left to record when both have said all."""
        ...


class Everything:
    """All of it as it is."""

    def upward(self, events: Sequence[Event]) -> Sequence[Event]:
        return events

    def downward(self, events: Sequence[Event]) -> Sequence[Event]:
        return events

    def end(self) -> Sequence[Event]:
        return ()


class Unread(Protocol):
    """The bytes of one direction that could not be told of yet."""

    def rest(self) -> bytes:
        """Take them out."""
        ...


class FileProtocol(Protocol):
    """A conversation about files, told from the bytes of its two sides; they raise Unreadable."""

    @property
    def from_client(self) -> Unread: ...
    @property
    def from_target(self) -> Unread: ...
    def asked(self, data: bytes) -> Iterator[FileHandled]: ...
    def answered(self, data: bytes) -> Iterator[FileHandled]: ...
    def end(self) -> Iterator[FileHandled]: ...


class Manifest:
    """The operations on files; their bytes only if *keep_contents*, and where they make no sense."""

    def __init__(self, protocol: FileProtocol, *, keep_contents: bool) -> None:
        self._protocol = protocol
        self._keep = keep_contents
        self._is_readable = True

    def upward(self, events: Sequence[Event]) -> Sequence[Event]:
        told: list[Event] = []
        for event in events:
            if isinstance(event, Input):
                told += self._told(event, self._protocol.asked)
            else:
                told.append(event)
        return told

    def downward(self, events: Sequence[Event]) -> Sequence[Event]:
        told: list[Event] = []
        for event in events:
            if isinstance(event, Output):
                told += self._told(event, self._protocol.answered)
            else:
                told.append(event)
        return told

    def end(self) -> Sequence[Event]:
        return list(with_notes(self._protocol.end()))

    def _told(self, event: Input | Output, read: Callable[[bytes], Iterator[FileHandled]]) -> Iterator[Event]:
        is_kept = self._keep or not self._is_readable
        if self._is_readable:
            try:
                yield from with_notes(read(event.data))
            except Unreadable as error:
                self._is_readable = False
                yield Noted(f"files: this cannot be read ({error}); it is kept as it is from here on")
                yield from self._unread()
        if is_kept:
            yield event

    def _unread(self) -> Iterator[Event]:
        """What has come of both sides and was not told of."""
        up, down = self._protocol.from_client.rest(), self._protocol.from_target.rest()
        if not self._keep:
            yield from (event for event in (Input(up), Output(down)) if event.data)


def account_of(copy: Copy | None, *, keep_contents: bool) -> Account:
    """What is recorded of a session that copies files so, or that does something else."""
    match copy:
        case Copy(protocol="sftp"):
            return Manifest(SftpManifest(), keep_contents=keep_contents)
        case Copy(protocol="scp", directions=(direction,)):
            return Manifest(ScpManifest(direction), keep_contents=keep_contents)
        case Copy(protocol="rsync", words=words):
            return Manifest(RsyncManifest(words), keep_contents=keep_contents)
        case _:
            return Everything()


def with_notes(files: Iterable[FileHandled]) -> Iterator[Event]:
    """Each of *files*, and for people a note of what was done."""
    for file in files:
        yield file
        if file.result or file.operation in ("sent", "received"):
            yield Noted(note_of(file))


def note_of(file: FileHandled) -> str:
    """One line about *file*."""
    words = [file.operation]
    if file.path:
        words.append(printable(file.path[:_SHOWN_PATH]))
    if file.to:
        words.append(f"to {printable(file.to[:_SHOWN_PATH])}")
    if file.size is not None:
        words.append(f"{file.size:,} bytes")
    if file.reused is not None:
        words.append(f"and {file.reused:,} of the old copy")
    if file.checksum:
        words.append(file.checksum)
    if file.sha256 is not None:
        words.append(f"SHA-256 {file.sha256}")
    if file.result and file.result != "ok":
        words.append(f"({printable(file.result[:_SHOWN_PATH])})")
    return f"files: {' '.join(words)}"
