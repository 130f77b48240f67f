"""The WebSocket of exec towards a client, byte by byte: what is taken, and what ends it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.frames import Close, Frame, Opcode

from bastion.ca.tls import TlsAuthority
from bastion.connectors.kubernetes.channels import V5
from bastion.kubectl.http import Conversation
from bastion.kubectl.stream import StreamEnd
from bastion.kubectl.websocket import LARGEST_MESSAGE, Opening
from bastion.sessions.session import Outcome
from bastion.transport.endpoint import TcpEnd
from bastion.transport.request import SessionRequest
from bastion.transport.tls import TlsEnd
from recorder.events import ErrorOutput, Event, Exited, Input, InputEnded, Output, Resized
from tests.kubectl.channel import SocketChannel
from tests.kubectl.frames import frame, frames

OPENING = (
    b"GET /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
)


class Program:
    """A session behind the WebSocket: keeps what comes, answers each input, and ends as it is told."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.events: list[Event] = []
        self.over = asyncio.Event()
        self.outcome = Outcome(ending="exited", exit=Exited(0))
        self.touched = 0
        self.port = 0

    async def serve(self, channel: TcpEnd) -> None:
        tls = TlsEnd(channel, self._context)
        await tls.handshake()
        conversation = Conversation(tls)
        head = await conversation.head()
        assert head is not None
        end = StreamEnd(
            Opening(
                conversation=conversation,
                tls=tls,
                head=head,
                protocol=V5,
                request=SessionRequest(kind="exec"),
                touch=self._touch,
            )
        )
        while events := await end.receive():
            self.events += events
            typed = [event.data for event in events if isinstance(event, Input)]
            await end.deliver([Output(data.upper()) for data in typed if data != b"exit"])
            await end.deliver([ErrorOutput(b"ended") for event in events if isinstance(event, InputEnded)])
            if b"exit" in typed:
                break
        await end.finish(self.outcome)
        await tls.close()
        self.over.set()

    def _touch(self) -> None:
        self.touched += 1


@pytest.fixture
async def program(authority: TlsAuthority) -> AsyncIterator[Program]:
    program = Program(authority.server_context(["x"]))
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SocketChannel(program.serve, tasks), "127.0.0.1", 0)
    program.port = server.sockets[0].getsockname()[1]
    async with server:
        yield program
    await asyncio.gather(*tasks)


@asynccontextmanager
async def opened(
    program: Program, authority: TlsAuthority, early: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A WebSocket that is open; *early* is sent without waiting for that."""
    context = ssl.create_default_context(cadata=authority.root)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", program.port, ssl=context, server_hostname="x"
    )
    try:
        writer.write(OPENING + early)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer  # of RFC 6455 section 1.3
        yield reader, writer
    finally:
        writer.close()


async def rest(reader: asyncio.StreamReader) -> list[Frame]:
    return list(frames(await asyncio.wait_for(reader.read(), 10)))


async def test_streams_pass_in_both_directions_and_the_end_is_told(
    program: Program, authority: TlsAuthority
) -> None:
    program.outcome = Outcome(ending="exited", exit=Exited(7))
    async with opened(program, authority, early=frame(b"\x00early")) as (reader, writer):
        writer.write(frame(b'\x04{"Width":90,"Height":30}') + frame(b"\xff\x00") + frame(b"\x00exit"))
        out, err, status, close = await rest(reader)
    assert (out.data, err.data) == (b"\x01EARLY", b"\x02ended")
    assert status.data[0] == 3
    assert json.loads(bytes(status.data[1:]))["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    assert Close.parse(close.data).code == 1000
    assert program.events == [Input(b"early"), Resized(90, 30), InputEnded(), Input(b"exit")]
    assert program.touched > 2


async def test_a_message_in_fragments_is_one_and_a_ping_between_them_is_answered(
    program: Program, authority: TlsAuthority
) -> None:
    async with opened(program, authority) as (reader, writer):
        for part in (
            frame(b"\x00ab", fin=False),
            frame(b"alive?", Opcode.PING),
            frame(b"cd", Opcode.CONT, fin=False),
            frame(b"ef", Opcode.CONT),
            frame(b"\x00exit"),
        ):
            writer.write(part)
            await writer.drain()
        found = await rest(reader)
    assert program.events[0] == Input(b"abcdef")
    assert [f.data for f in found if f.opcode is Opcode.PONG] == [b"alive?"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"\x00ls", mask=False), 1002),
        (frame(b"\x00" + b"x" * LARGEST_MESSAGE), 1009),
        (frame(b"\x00" + b"x" * 600_000, fin=False) + frame(b"x" * 600_000, Opcode.CONT), 1009),
        (frame(b"ab", Opcode.CONT), 1002),
        (frame(b"\x00a", fin=False) + frame(b"\x00b"), 1002),
        (b"\xc2\x82\0\0\0\0\0a", 1002),
        (frame(b"\x01not yours"), 1002),
        (frame(b"\x04{}"), 1002),
        (b"\x87\x80\0\0\0\0", 1002),
    ],
    ids=[
        "no mask", "too large", "too large in parts", "goes on with nothing", "begins amid another", "unknown bits",
        "no channel of a client", "no size", "unknown kind",
    ],
)  # fmt: skip
async def test_what_no_client_of_ours_sends_ends_the_connection_with_a_code_and_reaches_no_program(
    program: Program, authority: TlsAuthority, sent: bytes, code: int
) -> None:
    async with opened(program, authority) as (reader, writer):
        writer.write(sent + frame(b"\x00after"))
        (close,) = await rest(reader)
    assert close.opcode is Opcode.CLOSE
    assert Close.parse(close.data).code == code
    await asyncio.wait_for(program.over.wait(), 10)
    assert program.events == []


async def test_a_client_that_leaves_without_a_word_ends_the_session(
    program: Program, authority: TlsAuthority
) -> None:
    async with opened(program, authority):
        pass
    await asyncio.wait_for(program.over.wait(), 10)


async def test_the_end_of_a_session_for_a_reason_of_ours_is_told_in_words(
    program: Program, authority: TlsAuthority
) -> None:
    program.outcome = Outcome(ending="revoked", message="this sign-in was revoked")
    async with opened(program, authority, early=frame(b"\x00exit")) as (reader, _):
        status, _ = await rest(reader)
    assert json.loads(bytes(status.data[1:]))["message"] == "this sign-in was revoked"
