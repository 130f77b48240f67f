"""SFTP held to what the rules say of files: a target that refuses what they do not allow.

It stands in front of the real target. What is allowed passes as it is; a request that is not gets the answer
"permission denied" and never reaches the target. Both are told in the manifest like any other request and its answer.
Where bytes make no sense nobody could say what they do: there the session ends.
"""

from __future__ import annotations

from collections.abc import Iterator

from bastion.errors import TargetError
from bastion.relay.sftp_packets import Framing, Kind, Packet, Unreadable
from bastion.transport.endpoint import TargetEnd
from policy.files import Copying, Direction
from recorder.events import Event, Exited, Input, Killed, Output

REASON = b"no rule lets you do this to this file"

_READ, _WRITE = 1, 2
_PERMISSION_DENIED = 3
_BOTH: tuple[Direction, ...] = ("upload", "download")
_WRITING = {Kind.SETSTAT, Kind.REMOVE, Kind.MKDIR, Kind.RMDIR}
_FREE = {
    # what looks around, and what goes by a handle, which was allowed when it was opened
    Kind.INIT, Kind.LSTAT, Kind.STAT, Kind.REALPATH, Kind.READLINK,
    Kind.CLOSE, Kind.READ, Kind.WRITE, Kind.FSTAT, Kind.READDIR,
}  # fmt: skip
_FREE_EXTENSIONS = {
    "limits@openssh.com",
    "expand-path@openssh.com",
    "users-groups-by-id@openssh.com",
    "home-directory",
    "statvfs@openssh.com",
    "fstatvfs@openssh.com",
    "fsync@openssh.com",
    "copy-data",
}


class SftpGate:
    """The end towards *target*, which passes on what *copying* allows."""

    def __init__(self, target: TargetEnd, copying: Copying) -> None:
        self._target = target
        self._copying = copying
        self._from_client = Framing()
        self._from_target = Framing()
        self._answers: list[bytes] = []

    @property
    def exit(self) -> Exited | Killed | None:
        return self._target.exit

    async def deliver(self, events: list[Event]) -> None:
        """Pass on what is allowed of *events*. Raises TargetError for bytes that are no SFTP."""
        passed: list[Event] = []
        for event in events:
            if not isinstance(event, Input):
                passed.append(event)
            elif allowed := b"".join(self._allowed(event.data)):
                passed.append(Input(allowed))
        if self._answers:
            self._target.unreceive(
                [Output(b"")]
            )  # `receive` waits for the target: let it look at our answers
        await self._target.deliver(passed)

    async def receive(self) -> list[Event]:
        """What the target says in whole packets, and our answers between them."""
        while events := await self._target.receive():
            told: list[Event] = []
            for event in events:
                if not isinstance(event, Output):
                    told.append(event)
                elif whole := b"".join(self._whole(event.data)):
                    told.append(Output(whole))
            if self._answers:
                told.insert(0, Output(b"".join(self._answers)))
                self._answers.clear()
            if told:
                return told
        return []

    def _whole(self, data: bytes) -> Iterator[bytes]:
        try:
            for packet in self._from_target.packets(data):
                yield packet.framed
        except Unreadable as error:
            raise TargetError(f"the target speaks no SFTP: {error}") from error

    def _allowed(self, data: bytes) -> Iterator[bytes]:
        try:
            for packet in self._from_client.packets(data):
                framed = packet.framed
                number = 0 if packet.kind is Kind.INIT else packet.number()
                if self._allows(packet):
                    yield framed
                else:
                    self._answers.append(_refusal(number))
        except Unreadable as error:
            raise TargetError(
                f"this cannot be read as SFTP ({error}), and the rules for files hold for SFTP alone"
            ) from error

    def _allows(self, packet: Packet) -> bool:
        match packet.kind:
            case Kind.OPEN:
                path, flags = packet.path(), packet.number()
                wanted: list[Direction] = ["upload"] if flags & ~_READ else []
                wanted += ["download"] if flags & _READ else []
                return all(self._copying.allows(direction, path) for direction in wanted or _BOTH)
            case Kind.OPENDIR:
                path = packet.path()
                return any(self._copying.allows(direction, path) for direction in _BOTH)
            case Kind.RENAME:
                return self._allows_moving(packet.path(), packet.path())
            case Kind.FSETSTAT:
                return self._copying.allows("upload")
            case Kind.SYMLINK:
                return not self._copying.holds_to_paths and self._copying.allows("upload", packet.path())
            case Kind.EXTENDED:
                return self._allows_extension(packet)
            case kind if kind in _WRITING:
                return self._copying.allows("upload", packet.path())
            case kind:
                return kind in _FREE

    def _allows_extension(self, packet: Packet) -> bool:
        match packet.path():
            case name if name in _FREE_EXTENSIONS:
                return True
            case "posix-rename@openssh.com":
                return self._allows_moving(packet.path(), packet.path())
            case "hardlink@openssh.com":
                return not self._copying.holds_to_paths and self._copying.allows("upload")
            case "lsetstat@openssh.com":
                return self._copying.allows("upload", packet.path())
            case _:
                return False  # who knows what it does

    def _allows_moving(self, path: str, to: str) -> bool:
        """What is moved away is changed there, and can be read where it comes to."""
        return (
            self._copying.allows("upload", path)
            and self._copying.allows("upload", to)
            and (not self._copying.holds_to_paths or self._copying.allows("download", path))
        )


def _refusal(number: int) -> bytes:
    body = bytes([Kind.STATUS]) + number.to_bytes(4) + _PERMISSION_DENIED.to_bytes(4)
    body += len(REASON).to_bytes(4) + REASON + (0).to_bytes(4)
    return len(body).to_bytes(4) + body
