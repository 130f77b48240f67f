"""The target's end of a session in a pod: exec and attach over a WebSocket, as events.

The first byte of a message names its stream (k8s.io/apimachinery, remotecommand/constants.go): 0 stdin, 1 stdout,
2 stderr, 3 how it ended, 4 the size of the window; in v5 alone, 255 says that a stream has ended. How the program ended
stands on stream 3 and nowhere else: servers close with whatever code afterwards.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from bastion.connectors.kubernetes.channels import CLOSE, RESIZE, STDIN, V4, V5
from bastion.connectors.kubernetes.cluster import Cluster, path_with, pod_path
from bastion.connectors.kubernetes.program import SHELL, program_of
from bastion.connectors.kubernetes.refusals import ClusterRefused
from bastion.errors import TargetError
from bastion.sessions.pods import PodName
from bastion.transport.request import SessionRequest
from recorder.events import ErrorOutput, Event, Exited, Input, InputEnded, Killed, Output, Resized, Signalled

LARGEST_PIECE = 32 * 1024
"""Bytes of input in one message, as kubectl cuts them."""

_LARGEST_STATUS = 64 * 1024
_BROKEN_PROTOCOL = (1002, 1003, 1007, 1009)
"""Codes with which we close when the other side sends what WebSocket forbids, or too much of it (RFC 6455, 7.4.1)."""

_KEYS = {"INT": b"\x03", "QUIT": b"\x1c", "TSTP": b"\x1a"}
"""Signals that a terminal makes of keys; there is no other way to send one into a pod."""


class PodEnd:
    """The `TargetSide` of an exec or attach; *where* is for messages."""

    def __init__(self, socket: ClientConnection, request: SessionRequest, where: str) -> None:
        self.exit: Exited | Killed | None = None
        self._socket = socket
        self._has_terminal = request.pty is not None
        self._has_ends = socket.subprotocol == V5
        self._needs_shell = program_of(request)[:1] == SHELL[:1]
        self._where = where

    async def receive(self) -> list[Event]:
        while self.exit is None:
            try:
                message = await self._socket.recv()
            except ConnectionClosed as closed:
                if closed.sent is not None and closed.sent.code in _BROKEN_PROTOCOL:
                    raise self._broken("a message that is too large, or none") from closed
                return []
            if isinstance(message, str):
                raise self._broken("text")
            if len(message) > 1:  # a server that speaks v4 greets on each stream with an empty message
                return [self._event(message[0], message[1:])]
        return []

    async def deliver(self, events: Sequence[Event]) -> None:
        try:
            for event in events:
                await self._send(event)
        except ConnectionClosed:
            return  # what is left to say `receive` says

    async def _send(self, event: Event) -> None:
        match event:
            case Input(data):
                for start in range(0, len(data), LARGEST_PIECE):
                    await self._socket.send(bytes([STDIN]) + data[start : start + LARGEST_PIECE])
            case InputEnded() if self._has_ends:
                await self._socket.send(bytes([CLOSE, STDIN]))
            case Resized(columns, rows) if (
                self._has_terminal and 0 < min(columns, rows) <= max(columns, rows) < 1 << 16
            ):
                size = json.dumps({"Width": columns, "Height": rows})
                await self._socket.send(bytes([RESIZE]) + size.encode())
            case Signalled(name) if self._has_terminal and name in _KEYS:
                await self._socket.send(bytes([STDIN]) + _KEYS[name])
            case _:
                pass  # other signals, breaks, and in v4 the end of input: the protocol has no word for them

    def _event(self, stream: int, data: bytes) -> Event:
        match stream:
            case 1:
                return Output(data)
            case 2:
                return Output(data) if self._has_terminal else ErrorOutput(data)
            case 3:
                self.exit = self._ending(data)
                return self.exit
            case _:
                raise self._broken(f"something on stream {stream}")

    def _ending(self, data: bytes) -> Exited:
        """What a Status says of the program. Raises TargetError when it says that there was none."""
        try:
            status = json.loads(data) if len(data) <= _LARGEST_STATUS else None
        except (ValueError, RecursionError):
            status = None
        match status:
            case {"status": "Success"}:
                return Exited(0)
            case {"reason": "NonZeroExitCode", "details": {"causes": [*causes]}} if (
                code := _exit_code(causes)
            ) is not None:
                return Exited(code)
            case {"message": str(message)} if self._needs_shell and _says_no_program(message):
                raise TargetError(
                    f"there is no shell in {self._where}",
                    hint="Run a program that is in it by its name and plain words: what a shell would do, nobody does.",
                )
            case {"message": str(message)}:
                raise TargetError(f"{self._where}: {message[:500]}")
        raise self._broken("no word of how the program ended")

    def _broken(self, what: str) -> TargetError:
        return TargetError(f"the cluster does not keep to the protocol of exec: it sent {what}")


@asynccontextmanager
async def open_stream(cluster: Cluster, pod: PodName, request: SessionRequest) -> AsyncIterator[PodEnd]:
    """Run what *request* is for in *pod*; the stream is closed on leaving. Raises TargetError."""
    terminal = request.pty is not None
    program = program_of(request)
    query = [
        *((("container", pod.container),) if pod.container else ()),
        *(("command", word) for word in program),
        ("stdin", _word(request.takes_input)),
        ("stdout", "true"),
        ("stderr", _word(not terminal)),  # a terminal has one output
        ("tty", _word(terminal)),
    ]
    path = pod_path(pod.namespace, pod.pod, "exec" if program else "attach")
    socket = await _connected(cluster, path_with(path, query))
    try:
        end = PodEnd(socket, request, str(pod))
        if request.pty is not None:
            await end.deliver([Resized(request.pty.columns, request.pty.rows)])
        yield end
    finally:
        await socket.close()


async def _connected(cluster: Cluster, target: str) -> ClientConnection:
    try:
        return await cluster.connect(target, (V5, V4))
    except ClusterRefused as refused:
        # A server before 1.30 may turn down who offers v5; a refusal by RBAC has a reason and stays one.
        if refused.status not in (400, 403) or refused.reason:
            raise
        return await cluster.connect(target, (V4,))


def _word(is_true: bool) -> str:
    return "true" if is_true else "false"


def _exit_code(causes: Sequence[Any]) -> int | None:
    for cause in causes:
        match cause:
            case {"reason": "ExitCode", "message": str(text)} if (
                text.isascii() and text.isdigit() and len(text) < 10
            ):
                return int(text) & 0xFF
    return None


def _says_no_program(message: str) -> bool:
    return "executable file not found" in message or "no such file or directory" in message
