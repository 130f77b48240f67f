"""A small HTTP/1.1 server on the loopback interface, for pages that a person's own browser opens.

`loopback` answers the browser with it, and the development issuer is made of it. h11 parses; this file bounds sizes
and times, answers one request a connection, and turns away what did not come for it: a Host of another name (DNS
rebinding) and forms that another site posts (Origin).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import h11

_LARGEST_HEAD = 16 * 1024
_LARGEST_BODY = 64 * 1024
_MOST_CONNECTIONS = 64
_TIMEOUT = 10.0
_CLOSE_TIMEOUT = 2.0

_SAFETY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    # no-referrer would make browsers say "Origin: null" on our own forms
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that passed the bounds. Of a field that is given twice the last counts."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What to answer; *headers* win over the careful ones that every response has."""

    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Response]]


class _RequestError(Exception):
    """A request that is turned away with *status*."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


class LoopbackServer:
    """Serves *handler* on 127.0.0.1."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, port: int = 0) -> None:
        """Listen on *port*, 0 being any free one; `port` holds it then. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=_LARGEST_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, let answers that are on their way arrive, and cut the other connections."""
        if self._server is None:
            return
        self._server.close()
        for task, writer in self._connections.items():
            if task not in self._answering:  # browsers open connections that they may never use
                writer.transport.abort()
        if self._connections:
            await asyncio.wait(self._connections, timeout=_CLOSE_TIMEOUT)
        for writer in self._connections.values():
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= _MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._connections[task] = writer
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self._converse(reader, writer, task)
                writer.close()
                await writer.wait_closed()  # until all of it is sent
        except (TimeoutError, ConnectionError):
            writer.transport.abort()  # nobody is there to be told
        finally:
            self._answering.discard(task)
            del self._connections[task]
            writer.close()

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[None]
    ) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
        try:
            request = await _read_request(connection, reader, self.port)
            self._answering.add(task)
            response = await self._handler(request)
        except _RequestError as error:
            response = Response(status=error.status, body=f"{error}\n".encode() if str(error) else b"")
        except h11.RemoteProtocolError as error:
            response = Response(status=error.error_status_hint, body=b"this is not HTTP as we know it\n")
        if connection.our_state is not h11.ERROR:
            writer.write(_write_response(connection, response))
            await writer.drain()


async def _read_request(connection: h11.Connection, reader: asyncio.StreamReader, port: int) -> Request:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(_LARGEST_HEAD))
            case h11.Request() as head:
                _check_sender(head, port)
            case h11.Data(data=data):
                body += data
                if len(body) > _LARGEST_BODY:
                    raise _RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too much data")
            case h11.EndOfMessage() if head is not None:
                return _request(head, bytes(body))
            case _:  # the client went before it had asked for anything
                raise ConnectionResetError


def _check_sender(head: h11.Request, port: int) -> None:
    if head.method not in (b"GET", b"POST"):
        raise _RequestError(HTTPStatus.METHOD_NOT_ALLOWED, "")  # without a body, which HEAD cannot have
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
    ours = {f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")}
    if headers.get("host", "").lower() not in ours:
        raise _RequestError(
            HTTPStatus.MISDIRECTED_REQUEST, "this server answers to the name of this machine only"
        )
    origin = headers.get("origin")
    if head.method == b"POST" and origin is not None and origin not in {f"http://{host}" for host in ours}:
        raise _RequestError(HTTPStatus.FORBIDDEN, "another site may not post here")


def _request(head: h11.Request, body: bytes) -> Request:
    try:
        target = urlsplit(head.target.decode("ascii"))
        query = dict(parse_qsl(target.query, keep_blank_values=True, max_num_fields=64))
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=64))
    except ValueError as error:
        raise _RequestError(HTTPStatus.BAD_REQUEST, "the request cannot be read") from error
    return Request(
        method=head.method.decode("ascii"),
        path=target.path,
        query=query,
        form=form,
        headers={name.decode().lower(): value.decode("latin-1") for name, value in head.headers},
    )


def _write_response(connection: h11.Connection, response: Response) -> bytes:
    headers = {
        **_SAFETY_HEADERS,
        "Content-Type": response.content_type,
        **response.headers,
        "Content-Length": str(len(response.body)),
        "Connection": "close",
    }
    head = h11.Response(
        status_code=response.status,
        reason=HTTPStatus(response.status).phrase.encode(),
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    )
    data = [h11.Data(data=response.body)] if response.body else []
    parts = [connection.send(event) for event in (head, *data, h11.EndOfMessage())]
    return b"".join(part for part in parts if part)
