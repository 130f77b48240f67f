"""A client's channel as a terminal: for the picker, the player, and our own words."""

from __future__ import annotations

from collections.abc import Callable

from bastion.transport.endpoint import ClientEnd
from recorder.events import ErrorOutput, Event, Input, InputEnded, Output, Resized


class ChannelTerminal:
    """Reads keys from, and writes to, the channel of a client. Without a PTY it is a plain pair of pipes."""

    def __init__(self, client: ClientEnd) -> None:
        self._client = client
        pty = client.request.pty
        self.is_tty = pty is not None
        self.term = pty.terminal if pty else "dumb"
        self.columns = (pty.columns if pty else 0) or 80
        self.rows = (pty.rows if pty else 0) or 24
        self.resized: Callable[[], None] | None = None

    async def read(self) -> bytes:
        """The next keys; b"" once the client sends no more. What else arrives (signals) is not for us."""
        while not self._client.has_said_all and (events := await self._client.receive()):
            for index, event in enumerate(events):
                match event:
                    case Resized(columns, rows):
                        self._resize(columns, rows)
                    case Input(data):
                        self._client.unreceive(events[index + 1 :])
                        return data
                    case InputEnded():
                        return b""
        return b""

    async def write(self, data: bytes) -> None:
        await self._client.deliver([Output(data)])

    async def say(self, text: str, *, error: bool = False) -> None:
        """Write lines of text; on stderr if it is an *error* and there is a stderr."""
        if self.is_tty:
            text = text.replace("\n", "\r\n")
        data = text.encode("utf-8", "replace")
        event: Event = ErrorOutput(data) if error and not self.is_tty else Output(data)
        await self._client.deliver([event])

    def unread(self, data: bytes) -> None:
        """Give back keys that were meant for whoever reads next."""
        if data:
            self._client.unreceive([Input(data)])

    def _resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns or self.columns, rows or self.rows
        if self.resized is not None:
            self.resized()
