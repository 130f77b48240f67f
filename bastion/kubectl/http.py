"""HTTP/1.1 with one client over one channel, strictly: what two readers could take for two requests is refused.

h11 parses; this file bounds sizes and times, and reads heads and bodies. Knows nothing of Kubernetes beyond the shape
of a refusal.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

import h11

from bastion.kubectl.status import Refusal
from bastion.transport.tls import TlsEnd

LARGEST_HEAD = 64 * 1024
LARGEST_BODY = 4 * 1024 * 1024
"""The API server itself takes 3 MiB."""
HEAD_TIMEOUT = 15.0
"""Seconds from the first byte of a head to its last."""
BODY_TIMEOUT = 60.0
IDLE_TIMEOUT = 120.0
"""Seconds that a connection may be kept without a request; Go's own clients let go after 90."""
_MOST_AHEAD = 64 * 1024
"""Bytes that a client may send before it has its answer."""

Headers = list[tuple[str, str]]


class Refused(Exception):
    """The request is answered with *refusal*, and the connection is over: what follows could be anything."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request without its body. Names of *headers* are in lower case."""

    method: str
    target: str
    headers: Headers

    def all(self, name: str) -> list[str]:
        """The values of every header of that name."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str:
        """The value of a header, several of one name joined as RFC 9110 has it; empty where there is none."""
        return ", ".join(self.all(name))


class Conversation:
    """Requests and responses, one after the other."""

    def __init__(self, stream: TlsEnd) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        self._method = ""
        self._ahead = 0

    async def head(self) -> Head | None:
        """The next request, or None when the client has gone, or kept silent for too long. Raises Refused."""
        if self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            self._http.start_next_cycle()
        self._ahead = 0
        limit = IDLE_TIMEOUT
        while True:
            event = self._next()
            if isinstance(event, h11.Request):
                self._method = event.method.decode("ascii")
                return _head(event)
            if event is not h11.NEED_DATA:
                return None
            if self._http.trailing_data[0]:
                limit = HEAD_TIMEOUT
            try:
                async with asyncio.timeout(limit):
                    await self._receive()
            except TimeoutError:
                return None

    async def body(self) -> bytes:
        """The body of the request whose head was read. Raises Refused."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                while not isinstance(event := self._next(), h11.EndOfMessage):
                    if isinstance(event, h11.Data):
                        parts.append(bytes(event.data))
                        size += len(event.data)
                        if size > LARGEST_BODY:
                            raise Refused(
                                Refusal(413, "this request is larger than an API server would take")
                            )
                    elif event is h11.NEED_DATA:
                        await self._receive()
                    else:
                        raise ConnectionResetError("the client left before its request was complete")
        except TimeoutError:
            raise Refused(Refusal(408, "the rest of this request did not come")) from None
        return b"".join(parts)

    async def client_gone(self) -> None:
        """Return once the client has gone, or sends on and on without waiting for its answer."""
        while self._ahead <= _MOST_AHEAD:
            data = await self.read()
            if not data:
                return
            self._ahead += len(data)
            self._http.receive_data(data)

    async def begin(self, code: int, headers: Iterable[tuple[str, str]]) -> None:
        """The head of a response, whose body follows by `send`, up to `end`."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send(h11.Response(status_code=code, headers=raw))

    async def send(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def refuse(self, refusal: Refusal, headers: Iterable[tuple[str, str]] = ()) -> None:
        """A whole response of ours, if one can still be given."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = refusal.body
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers]
        await self.begin(refusal.code, fields)
        if self._method != "HEAD":
            await self.send(body)
        await self.end()

    async def switch(self, headers: Iterable[tuple[str, str]]) -> bytes:
        """Answer 101; returns what the client has sent beyond its request already."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send(h11.InformationalResponse(status_code=101, headers=raw))
        return self._http.trailing_data[0]

    async def read(self) -> bytes:
        """What the client sends, whatever it is; b"" once it has gone."""
        try:
            return await self._stream.read()
        except ssl.SSLError:
            return b""

    @property
    def is_over(self) -> bool:
        """Whether no other request can follow."""
        return {self._http.our_state, self._http.their_state} not in ({h11.IDLE}, {h11.DONE})

    def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise Refused(
                Refusal(error.error_status_hint, f"this is not HTTP as it should be: {error}")
            ) from error

    async def _receive(self) -> None:
        self._http.receive_data(await self.read())

    async def _send(self, event: h11.Event) -> None:
        try:
            data = self._http.send(event)
        except h11.LocalProtocolError as error:  # what a cluster answered is no answer that can be passed on
            raise ConnectionAbortedError(str(error)) from error
        if data:
            await self._stream.write(data)


def _head(request: h11.Request) -> Head:
    """What is read of a request. Raises Refused for one that others could read in another way."""
    if not all(value.isascii() for _, value in request.headers):
        raise Refused(Refusal(400, "write headers in ASCII"))
    headers = [(name.decode("ascii").lower(), value.decode("ascii")) for name, value in request.headers]
    names = [name for name, _ in headers]
    if request.http_version != b"1.1":
        raise Refused(Refusal(400, "speak HTTP/1.1"))
    if "transfer-encoding" in names and "content-length" in names:
        raise Refused(Refusal(400, "a request has either a length or a transfer encoding"))
    for name in ("content-length", "transfer-encoding", "host", "authorization", "upgrade"):
        if names.count(name) > 1:
            raise Refused(Refusal(400, f"a request has one {name} at most"))
    return Head(method=request.method.decode("ascii"), target=request.target.decode("ascii"), headers=headers)
