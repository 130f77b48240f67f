"""What the gate in front of SFTP lets pass, packet by packet."""

from __future__ import annotations

from typing import Any

import pytest

from bastion.errors import TargetError
from bastion.relay.sftp_gate import REASON, SftpGate
from bastion.relay.sftp_packets import Framing, Kind
from bastion.transport.endpoint import TargetEnd
from policy.files import Copying, FileTerms
from recorder.events import Event, Input, Output
from tests.relay.test_sftp_manifest import packet

DROPBOX = FileTerms(directions=("upload",), paths=("/in/*",))
LIBRARY = FileTerms(directions=("download",))


class _Target(TargetEnd):
    """A target that keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.got = b""

    async def deliver(self, events: Any) -> None:
        self.got += b"".join(event.data for event in events)

    def says(self, *events: Event) -> None:
        self.unreceive(events)


def gate(*terms: FileTerms | None) -> tuple[SftpGate, _Target]:
    target = _Target()
    return SftpGate(target, Copying.of(terms)), target


def path(kind: Kind, *paths: bytes) -> bytes:
    return packet(kind, 7, *paths)


def opening(name: bytes, flags: int) -> bytes:
    return packet(Kind.OPEN, 7, name, flags, 0)


def extended(name: bytes, *fields: bytes) -> bytes:
    return packet(Kind.EXTENDED, 7, name, *fields)


async def passes(terms: FileTerms | None, request: bytes) -> bool:
    """Whether *request* reaches the target; if not, it was answered."""
    there, target = gate(terms)
    await there.deliver([Input(request)])
    if target.got:
        assert target.got == request
        return True
    (answer,) = await there.receive()
    assert isinstance(answer, Output)
    (status,) = Framing().packets(answer.data)
    assert (status.kind, status.number(), status.number(), status.string()) == (Kind.STATUS, 7, 3, REASON)
    return False


@pytest.mark.parametrize(
    ("terms", "request_", "expected"),
    [
        (LIBRARY, opening(b"/etc/motd", 1), True),
        (LIBRARY, opening(b"/etc/motd", 2), False),
        (LIBRARY, opening(b"/etc/motd", 3), False),
        (LIBRARY, opening(b"/etc/motd", 8 | 16), False),
        (LIBRARY, path(Kind.REMOVE, b"/etc/motd"), False),
        (LIBRARY, path(Kind.OPENDIR, b"/etc"), True),
        (LIBRARY, packet(Kind.FSETSTAT, 7, b"h", 0), False),
        (LIBRARY, path(Kind.SYMLINK, b"/a", b"/b"), False),
        (LIBRARY, path(Kind.RENAME, b"/a", b"/b"), False),
        (LIBRARY, extended(b"posix-rename@openssh.com", b"/a", b"/b"), False),
        (LIBRARY, extended(b"hardlink@openssh.com", b"/a", b"/b"), False),
        (LIBRARY, extended(b"lsetstat@openssh.com", b"/a"), False),
        (LIBRARY, extended(b"fsync@openssh.com", b"h"), True),
        (LIBRARY, extended(b"run@example.com", b"rm"), False),
        (DROPBOX, opening(b"/in/x", 2 | 8), True),
        (DROPBOX, opening(b"/in/../etc/x", 2 | 8), False),
        (DROPBOX, opening(b"/in//x/", 2 | 8), True),
        (DROPBOX, opening(b"/other", 2 | 8), False),
        (DROPBOX, opening(b"/in/x", 1), False),
        (DROPBOX, path(Kind.MKDIR, b"/in/d"), True),
        (DROPBOX, path(Kind.MKDIR, b"/d"), False),
        (DROPBOX, path(Kind.SYMLINK, b"/etc", b"/in/etc"), False),
        (DROPBOX, extended(b"hardlink@openssh.com", b"/etc/x", b"/in/x"), False),
        (DROPBOX, path(Kind.RENAME, b"/in/a", b"/in/b"), False),
        (DROPBOX, path(Kind.STAT, b"/anything"), True),
        (DROPBOX, packet(Kind.WRITE, 7, b"h", (0, 8), b"data"), True),
        (None, path(Kind.RENAME, b"/a", b"/b"), True),
        (None, path(Kind.SYMLINK, b"/a", b"/b"), True),
    ],
)
async def test_requests_that_the_rules_allow_pass_and_others_are_answered(
    terms: FileTerms | None, request_: bytes, expected: bool
) -> None:
    assert await passes(terms, request_) is expected


async def test_several_rules_allow_together_what_each_allows() -> None:
    there, target = gate(DROPBOX, LIBRARY)
    asked = opening(b"/in/x", 2) + path(Kind.RENAME, b"/in/a", b"/in/b") + opening(b"/etc/motd", 1)
    await there.deliver([Input(asked)])
    assert target.got == asked
    await there.deliver([Input(opening(b"/in/x", 3))])
    assert target.got != asked  # up by one rule, down by the other


async def test_answer_comes_between_whole_packets_of_the_target() -> None:
    """A packet of the target that comes in two pieces is not torn by an answer of ours."""
    there, target = gate(LIBRARY)
    whole = packet(Kind.DATA, 1, b"x" * 100)
    target.says(Output(whole[:50]))
    await there.deliver([Input(path(Kind.REMOVE, b"/f"))])
    first = await there.receive()
    target.says(Output(whole[50:]))
    second = await there.receive()
    data = b"".join(event.data for event in [*first, *second] if isinstance(event, Output))
    assert [answer.kind for answer in Framing().packets(data)] == [Kind.STATUS, Kind.DATA]


async def test_bytes_that_are_no_sftp_end_the_session() -> None:
    there, _ = gate(LIBRARY)
    with pytest.raises(TargetError, match="cannot be read as SFTP"):
        await there.deliver([Input(b"SSH-2.0-" + bytes(40))])
