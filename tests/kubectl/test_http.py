"""HTTP inside a channel: what two readers could take for two requests is refused, and so is what never ends."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bastion.ca.tls import TlsAuthority
from bastion.kubectl import http
from bastion.kubectl.http import Conversation, Refused
from bastion.transport.endpoint import TcpEnd
from bastion.transport.tls import TlsEnd
from tests.kubectl.channel import SocketChannel

HOST = b"Host: prod-k8s\r\n"


class Door:
    """A server that says what it was asked, and notes how its connections ended."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self.port = 0

    async def answer(self, end: TcpEnd) -> None:
        tls = TlsEnd(end, self._context)
        try:
            await tls.handshake()
            await self._converse(Conversation(tls))
        except (ssl.SSLError, ConnectionError) as error:
            tls.abort()
            await self.ends.put(type(error).__name__)
        else:
            await tls.close()
            await self.ends.put("closed")

    async def _converse(self, conversation: Conversation) -> None:
        while not conversation.is_over:
            try:
                head = await conversation.head()
                if head is None:
                    return
                body = await conversation.body()
            except Refused as refused:
                await conversation.refuse(refused.refusal, [("Connection", "close")])
                return
            said = json.dumps([head.method, head.target, len(body)]).encode()
            await conversation.begin(200, [("Content-Length", str(len(said)))])
            await conversation.send(said)
            await conversation.end()


@pytest.fixture
async def door(authority: TlsAuthority) -> AsyncIterator[Door]:
    door = Door(authority.server_context(["prod-k8s"], ["http/1.1"]))
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SocketChannel(door.answer, tasks), "127.0.0.1", 0)
    door.port = server.sockets[0].getsockname()[1]
    async with server:
        yield door
    await asyncio.gather(*tasks)


@asynccontextmanager
async def connected(
    door: Door, authority: TlsAuthority
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    context = ssl.create_default_context(cadata=authority.root)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", door.port, ssl=context, server_hostname="prod-k8s"
    )
    try:
        yield reader, writer
    finally:
        writer.close()


async def exchange(door: Door, authority: TlsAuthority, sent: bytes) -> bytes:
    """All that is answered to *sent*."""
    async with connected(door, authority) as (reader, writer):
        writer.write(sent)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)


async def test_requests_follow_each_other_on_one_connection(door: Door, authority: TlsAuthority) -> None:
    async with connected(door, authority) as (reader, writer):
        for number, (extra, body) in enumerate(
            [
                (b"", b""),
                (b"Content-Length: 3\r\n", b"abc"),
                (b"Transfer-Encoding: chunked\r\n", b"2\r\nab\r\n0\r\n\r\n"),
            ]
        ):
            writer.write(b"POST /%d HTTP/1.1\r\n" % number + HOST + extra + b"\r\n" + body)
            await reader.readuntil(b"\r\n\r\n")
            size = (0, 3, 2)[number]
            said = json.dumps(["POST", f"/{number}", size]).encode()
            assert await reader.readexactly(len(said)) == said


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\na",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length : 1\r\n\r\na",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999\r\n\r\n" + b"a" * (http.LARGEST_BODY + 65_536),
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"User-Agent: kubectl\xe9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X" * 100_000 + b": a\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_is_over(
    door: Door, authority: TlsAuthority, sent: bytes
) -> None:
    answer = await exchange(door, authority, sent + b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), answer
    assert b"connection: close" in head.lower()
    assert json.loads(body)["kind"] == "Status"
    assert b"smuggled" not in answer
    assert await door.ends.get() == "closed"


@pytest.mark.parametrize(
    ("timeout", "sent", "answered"),
    [
        ("IDLE_TIMEOUT", b"", b""),
        ("HEAD_TIMEOUT", b"GET / HT", b""),
        ("BODY_TIMEOUT", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nab", b"HTTP/1.1 408"),
    ],
)
async def test_who_does_not_go_on_is_let_go(
    door: Door,
    authority: TlsAuthority,
    monkeypatch: pytest.MonkeyPatch,
    timeout: str,
    sent: bytes,
    answered: bytes,
) -> None:
    monkeypatch.setattr(http, timeout, 0.2)
    answer = await exchange(door, authority, sent)
    assert answer.startswith(answered)
    assert bool(answer) == bool(answered)


async def test_a_client_that_leaves_in_the_middle_of_a_request_leaves_nothing_behind(
    door: Door, authority: TlsAuthority
) -> None:
    async with connected(door, authority) as (_, writer):
        writer.write(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nab")
        await writer.drain()
    assert await asyncio.wait_for(door.ends.get(), 10) == "closed"


async def test_what_is_no_tls_is_cut_off(door: Door, authority: TlsAuthority) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert b"HTTP" not in await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert await door.ends.get() == "SSLError"
