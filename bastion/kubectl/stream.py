"""The client's end of exec and attach: a WebSocket that carries several streams.

The first byte of a message names its stream (k8s.io/apimachinery, remotecommand/constants.go): 0 is stdin, 1 stdout,
2 stderr, 3 how it ended, 4 the size of the window; and in v5 alone, 255 says that a stream has ended.
"""

from __future__ import annotations

import json

from bastion.connectors.kubernetes.channels import CLOSE, RESIZE, STATUS, STDERR, STDIN, STDOUT, V5
from bastion.kubectl.status import exit_status, failed
from bastion.kubectl.websocket import WebSocketEnd
from bastion.sessions.session import Outcome
from recorder.events import ErrorOutput, Event, Exited, Input, InputEnded, Output, Resized

_LONGEST_SIZE = 200


class StreamEnd(WebSocketEnd):
    """The `ClientSide` of one exec or attach, in v5 or v4."""

    def events(self, message: bytes) -> list[Event]:
        return events_of(message, has_ends=self.protocol == V5)

    def message(self, event: Event) -> bytes | None:
        match event:
            case Output(data):
                return bytes([STDOUT]) + data
            case ErrorOutput(data):
                return bytes([STDERR]) + data
            case _:
                return None  # how it ended is told last, after the recording is sealed

    def last_message(self, outcome: Outcome) -> bytes:
        match outcome.told:
            case Exited(status) if not outcome.message:
                said = exit_status(status)
            case _:
                said = failed(outcome.message or f"the session ended: {outcome.ending}")
        return bytes([STATUS]) + said


def events_of(message: bytes, *, has_ends: bool) -> list[Event]:
    """What a message of a client says; *has_ends* as v5 has them. Raises ValueError when it says nothing we know."""
    if not message:
        return []
    stream, data = message[0], message[1:]
    if stream == STDIN:
        return [Input(data)] if data else []
    if stream == RESIZE:
        return [_size(data)]
    if stream == CLOSE and has_ends and len(data) == 1:
        return [InputEnded()] if data[0] == STDIN else []
    raise ValueError(f"nobody sends on stream {stream}")


def _size(data: bytes) -> Resized:
    if len(data) <= _LONGEST_SIZE:
        match json.loads(data):
            case {"Width": int(columns), "Height": int(rows)} if (
                max(columns, rows) <= 0xFFFF and min(columns, rows) >= 0
            ):
                return Resized(columns, rows)
    raise ValueError("no terminal is of that size")
