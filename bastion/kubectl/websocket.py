"""A client's WebSocket as the client's end of a session: messages are events, both ways.

It is agreed on only when somebody asks for what the client sends: until then a refusal is still plain HTTP. What its
messages mean, the kinds of it know.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side
from websockets.utils import accept_key

from bastion.kubectl.http import Conversation, Head
from bastion.sessions.session import Outcome
from bastion.transport.request import SessionRequest
from bastion.transport.tls import TlsEnd
from recorder.events import Event

LARGEST_MESSAGE = 1024 * 1024
_PROTOCOL_ERROR = 1002


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a WebSocket is made of: the request for it, whom it came from, and the *protocol* to speak.

    *touch* is to be called whenever something passes.
    """

    conversation: Conversation
    tls: TlsEnd
    head: Head
    protocol: str
    request: SessionRequest
    touch: Callable[[], None]


def offered(head: Head, known: Sequence[str]) -> str | None:
    """The first of the *known* protocols that the client offers."""
    words = [word.strip() for word in head.get("sec-websocket-protocol").split(",")]
    return next((protocol for protocol in known if protocol in words), None)


def handshake_problem(head: Head) -> str | None:
    """What is wrong with the opening of a WebSocket (RFC 6455 section 4.2.1), if anything."""
    if "upgrade" not in [word.strip().lower() for word in head.get("connection").split(",")]:
        return "an Upgrade needs a Connection that says so"
    if head.method != "GET" or head.get("sec-websocket-version") != "13":
        return "open a WebSocket with GET and in version 13"
    if len(head.all("sec-websocket-key")) != 1 or len(head.get("sec-websocket-key")) != 24:
        return "a WebSocket is opened with one key of 16 bytes"
    return None


class WebSocketEnd:
    """The `ClientSide` of a session over a WebSocket."""

    def __init__(self, opening: Opening) -> None:
        self.request = opening.request
        self.protocol = opening.protocol
        self.is_open = False
        self._opening = opening
        self._conversation = opening.conversation
        self._socket = Protocol(Side.SERVER, max_size=LARGEST_MESSAGE)
        self._parts: list[bytes] = []
        self._is_over = False

    @abstractmethod
    def events(self, message: bytes) -> list[Event]:
        """What a message of the client says. Raises ValueError when it says nothing we know."""

    @abstractmethod
    def message(self, event: Event) -> bytes | None:
        """The message that tells the client of *event*, if one does."""

    @abstractmethod
    def last_message(self, outcome: Outcome) -> bytes:
        """The message that tells the client how it ended."""

    async def receive(self) -> list[Event]:
        if not self.is_open:
            self.is_open = True
            self._socket.receive_data(await self._conversation.switch(self._agreement()))
        while not self._is_over:
            events = list(self._received())
            await self._flush()
            if events:
                self._opening.touch()
                return events
            if self._is_over:
                break
            if data := await self._conversation.read():
                self._socket.receive_data(data)
            else:
                self._is_over = True
        return []

    async def deliver(self, events: Sequence[Event]) -> None:
        if self.is_open:
            self._opening.touch()
            self._send(events)
            await self._flush()

    def put(self, events: Sequence[Event]) -> bool:
        if self.is_open and not self._is_over:
            self._send(events)
            return self._opening.tls.put(b"".join(self._socket.data_to_send()))
        return not self._is_over

    def abort(self) -> None:
        self._is_over = True
        self._opening.tls.abort()

    async def finish(self, outcome: Outcome) -> None:
        """Tell the client how it ended, and close."""
        if self._is_over:
            return
        self._socket.send_binary(self.last_message(outcome))
        self._socket.send_close(1000)
        await self._flush()

    def _agreement(self) -> list[tuple[str, str]]:
        return [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_key(self._opening.head.get("sec-websocket-key"))),
            ("Sec-WebSocket-Protocol", self.protocol),
        ]

    def _received(self) -> Iterator[Event]:
        for frame in self._socket.events_received():
            if isinstance(frame, Frame) and frame.opcode in (Opcode.BINARY, Opcode.CONT, Opcode.TEXT):
                yield from self._taken(frame)
        self._is_over = self._is_over or self._socket.close_expected()

    def _taken(self, frame: Frame) -> list[Event]:
        self._parts.append(bytes(frame.data))
        if self._is_over or not frame.fin:
            return []
        message = b"".join(self._parts)
        self._parts.clear()
        try:
            return self.events(message)
        except ValueError:
            self._socket.fail(_PROTOCOL_ERROR, "not a message of this protocol")
            self._is_over = True
            return []

    def _send(self, events: Sequence[Event]) -> None:
        for event in events:
            if (message := self.message(event)) is not None:
                self._socket.send_binary(message)

    async def _flush(self) -> None:
        await self._opening.tls.write(b"".join(self._socket.data_to_send()))
