"""The client's end of exec and attach: a WebSocket that carries several streams, as events.

The first byte of a message names its stream (k8s.io/apimachinery, remotecommand/constants.go): 0 is stdin, 1 stdout,
2 stderr, 3 how it ended, 4 the size of the window; and in v5 alone, 255 says that a stream has ended. The WebSocket is
agreed on only when somebody asks for what the client sends: until then a refusal is still plain HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side
from websockets.utils import accept_key

from bastion.kubectl.http import Conversation, Head
from bastion.kubectl.status import exit_status, failed
from bastion.sessions.session import Outcome
from bastion.transport.request import SessionRequest
from bastion.transport.tls import TlsEnd
from recorder.events import ErrorOutput, Event, Exited, Input, InputEnded, Output, Resized

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
LARGEST_MESSAGE = 1024 * 1024
_CLOSE_ON_PROTOCOL_ERROR = 1002
_STDIN, _STDOUT, _STDERR, _STATUS, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_LONGEST_SIZE = 200


def offered_protocol(head: Head) -> str | None:
    """The newest protocol of those that the client offers, and we know."""
    offered = [word.strip() for word in head.get("sec-websocket-protocol").split(",")]
    return next((protocol for protocol in (V5, V4) if protocol in offered), None)


def handshake_problem(head: Head) -> str | None:
    """What is wrong with the opening of a WebSocket (RFC 6455 section 4.2.1), if anything."""
    if "upgrade" not in [word.strip().lower() for word in head.get("connection").split(",")]:
        return "an Upgrade needs a Connection that says so"
    if head.method != "GET" or head.get("sec-websocket-version") != "13":
        return "open a WebSocket with GET and in version 13"
    if len(head.all("sec-websocket-key")) != 1 or len(head.get("sec-websocket-key")) != 24:
        return "a WebSocket is opened with one key of 16 bytes"
    return None


class StreamEnd:
    """The `ClientSide` of one exec or attach."""

    def __init__(
        self,
        conversation: Conversation,
        tls: TlsEnd,
        head: Head,
        protocol: str,
        request: SessionRequest,
        touch: Callable[[], None],
    ) -> None:
        """*touch* is called whenever something passes."""
        self.request = request
        self._conversation = conversation
        self._tls = tls
        self._head = head
        self._protocol = protocol
        self._touch = touch
        self._socket = Protocol(Side.SERVER, max_size=LARGEST_MESSAGE)
        self._parts: list[bytes] = []
        self.is_open = False
        self._is_over = False

    async def receive(self) -> list[Event]:
        if not self.is_open:
            self.is_open = True
            self._socket.receive_data(await self._conversation.switch(self._agreement()))
        while not self._is_over:
            events = [event for frame in self._frames() for event in self._taken(frame)]
            await self._flush()
            if events:
                self._touch()
                return events
            if self._is_over:
                break
            data = await self._conversation.read()
            if data:
                self._socket.receive_data(data)
            else:
                self._is_over = True
        return []

    async def deliver(self, events: Sequence[Event]) -> None:
        if self.is_open:
            self._touch()
            self._send(events)
            await self._flush()

    def put(self, events: Sequence[Event]) -> bool:
        if not self.is_open or self._is_over:
            return not self._is_over
        self._send(events)
        return self._tls.put(b"".join(self._socket.data_to_send()))

    def abort(self) -> None:
        self._is_over = True
        self._tls.abort()

    async def finish(self, outcome: Outcome) -> None:
        """Tell the client how it ended, and close."""
        match outcome.told:
            case Exited(status) if not outcome.message:
                said = exit_status(status)
            case _:
                said = failed(outcome.message or f"the session ended: {outcome.ending}")
        if not self._is_over:
            self._socket.send_binary(bytes([_STATUS]) + said)
            self._socket.send_close(1000)
            await self._flush()

    def _agreement(self) -> list[tuple[str, str]]:
        return [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_key(self._head.get("sec-websocket-key"))),
            ("Sec-WebSocket-Protocol", self._protocol),
        ]

    def _frames(self) -> list[Frame]:
        frames = [frame for frame in self._socket.events_received() if isinstance(frame, Frame)]
        self._is_over = self._is_over or self._socket.close_expected()
        return frames

    def _taken(self, frame: Frame) -> Iterator[Event]:
        if frame.opcode not in (Opcode.BINARY, Opcode.CONT, Opcode.TEXT) or self._is_over:
            return
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return
        message = b"".join(self._parts)
        self._parts.clear()
        try:
            yield from events_of(message, has_ends=self._protocol == V5)
        except ValueError:
            self._socket.fail(_CLOSE_ON_PROTOCOL_ERROR, "not a message of this protocol")
            self._is_over = True

    def _send(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case Output(data):
                    self._socket.send_binary(bytes([_STDOUT]) + data)
                case ErrorOutput(data):
                    self._socket.send_binary(bytes([_STDERR]) + data)
                case _:
                    pass  # how it ended is told by `finish`, after the recording is sealed

    async def _flush(self) -> None:
        await self._tls.write(b"".join(self._socket.data_to_send()))


def events_of(message: bytes, *, has_ends: bool) -> list[Event]:
    """What a message of a client says; *has_ends* as v5 has them. Raises ValueError when it says nothing we know."""
    if not message:
        return []
    stream, data = message[0], message[1:]
    if stream == _STDIN:
        return [Input(data)] if data else []
    if stream == _RESIZE:
        return [_size(data)]
    if stream == _CLOSE and has_ends and len(data) == 1:
        return [InputEnded()] if data[0] == _STDIN else []
    raise ValueError(f"nobody sends on stream {stream}")


def _size(data: bytes) -> Resized:
    if len(data) <= _LONGEST_SIZE:
        match json.loads(data):
            case {"Width": int(columns), "Height": int(rows)} if (
                max(columns, rows) <= 0xFFFF and min(columns, rows) >= 0
            ):
                return Resized(columns, rows)
    raise ValueError("no terminal is of that size")
