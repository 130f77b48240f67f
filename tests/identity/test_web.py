"""The loopback HTTP server: what it answers, and what it turns away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bastion.identity.web import LoopbackServer, Request, Response


class Site:
    """A server that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.release = asyncio.Event()
        self.release.set()
        self.server = LoopbackServer(self._answer)

    async def _answer(self, request: Request) -> Response:
        self.asked.append(request)
        await self.release.wait()
        return Response(body=b"hello\n")

    async def send(self, raw: str, *, eof: bool = False) -> str:
        """Send bytes and return all that comes back; PORT stands for the port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(raw.replace("PORT", str(self.server.port)).encode("latin-1"))
        if eof:
            writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer.decode()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.server.start()
    yield site
    site.release.set()
    await site.server.close()


async def test_a_request_is_read_with_its_query_and_answered_with_careful_headers(site: Site) -> None:
    answer = await site.send("GET /page?a=1&a=2&b=%C3%BC HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200 OK\r\n") and answer.endswith("\r\n\r\nhello\n")
    for header in ("Cache-Control: no-store", "X-Content-Type-Options: nosniff", "frame-ancestors 'none'"):
        assert header in answer
    assert (site.asked[0].path, site.asked[0].query) == ("/page", {"a": "2", "b": "ü"})


async def test_a_form_is_read_also_when_it_comes_in_chunks(site: Site) -> None:
    head = "POST /form HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"
    await site.send(f"{head}Content-Length: 7\r\n\r\na=1&b=2")
    await site.send(f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\na=1\r\n4\r\n&b=2\r\n0\r\n\r\n")
    assert [request.form for request in site.asked] == [{"a": "1", "b": "2"}] * 2


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),  # DNS rebinding
        ("GET / HTTP/1.1\r\nHost: evil.example:PORT\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 421),
        (
            "POST / HTTP/1.1\r\nHost: localhost:PORT\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\n\r\n",
            403,
        ),
        ("POST / HTTP/1.1\r\nHost: localhost:PORT\r\nOrigin: null\r\nContent-Length: 0\r\n\r\n", 403),
        (
            "POST / HTTP/1.1\r\nHost: localhost:PORT\r\nOrigin: http://localhost:1\r\nContent-Length: 0\r\n\r\n",
            403,
        ),
        ("DELETE / HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 405),
        ("HEAD / HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 405),
        ("CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 405),
        (
            "GET /?" + "&".join(f"a{n}=1" for n in range(65)) + " HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: 2\r\n\r\n\x80=", 400),
        ("GET //[ HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost:PORT\r\nX: " + "x" * 40_000 + "\r\n\r\n", 431),
        ("nonsense\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: -1\r\n\r\n", 400),
    ],
)
async def test_what_did_not_come_for_us_is_turned_away(site: Site, request_head: str, status: int) -> None:
    assert (await site.send(request_head)).startswith(f"HTTP/1.1 {status} ")
    assert not site.asked


async def test_a_form_of_our_own_page_is_let_in(site: Site) -> None:
    head = "POST / HTTP/1.1\r\nHost: localhost:PORT\r\nOrigin: http://localhost:PORT\r\nContent-Length: 3\r\n\r\n"
    assert "200 OK" in await site.send(f"{head}a=1")


async def test_a_body_without_end_is_cut_off(site: Site) -> None:
    body = "x" * (80 * 1024)
    head = f"POST / HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: {len(body)}\r\n\r\n"
    assert (await site.send(head + body)).startswith("HTTP/1.1 413 ")


async def test_a_client_that_goes_away_is_no_fault(site: Site) -> None:
    assert await site.send("", eof=True) == ""
    assert (await site.send("GET / HT", eof=True)).startswith("HTTP/1.1 400 ")
    assert "200 OK" in await site.send("GET / HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n")
    assert len(site.asked) == 1


async def test_closing_lets_an_answer_arrive_and_cuts_idle_connections(site: Site) -> None:
    """The browser must see the last page, and a connection it opened ahead of need must not hold us up."""
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", site.server.port)
    site.release.clear()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(site.send("GET / HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n"))
        while not site.asked:
            await asyncio.sleep(0.01)
        closing = group.create_task(site.server.close())
        assert await idle_reader.read() == b""
        site.release.set()
    assert asking.result().endswith("hello\n") and closing.done()
    idle_writer.close()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", site.server.port)


async def test_it_listens_on_this_machine_only(site: Site) -> None:
    sockets = site.server._server.sockets if site.server._server else ()
    assert [socket.getsockname()[0] for socket in sockets] == ["127.0.0.1"]
