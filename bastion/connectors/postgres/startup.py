"""What a client says before its first statement: TLS or not, which user and database, or a statement to be cancelled.

Nobody is asked for a password: who the person is, the SSH connection says, or the box that the client runs in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bastion.connectors.postgres.messages import (
    CANCEL_REQUEST,
    GSSENC_REQUEST,
    LARGEST_STARTUP,
    LENGTH,
    PROTOCOL_3,
    SSL_REQUEST,
    Malformed,
    complaint,
    message,
    pairs,
)
from bastion.connectors.postgres.stream import Buffered, Stream

DIRECT_TLS = b"\x16"
"""The first byte of a client that begins TLS at once (sslnegotiation=direct)."""
ALPN = "postgresql"

_MOST_QUESTIONS = 4
"""Requests for encryption that one connection may make."""


class Refused(Exception):
    """The client is told why, and the connection ends. *code* is an SQLSTATE."""

    def __init__(self, code: str, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.hint = hint

    @property
    def message(self) -> bytes:
        return complaint(b"E", "FATAL", self.code, self.text, self.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """Who a client says it is, and what it wants. *refused* are extensions of the protocol we do not speak."""

    parameters: dict[str, str]
    is_newer: bool = False
    refused: tuple[str, ...] = ()

    @property
    def answer(self) -> bytes:
        """What a client hears that asked for more than 3.0: NegotiateProtocolVersion."""
        if not self.is_newer and not self.refused:
            return b""
        names = b"".join(name.encode() + b"\0" for name in self.refused)
        return message(b"v", LENGTH.pack(PROTOCOL_3) + LENGTH.pack(len(self.refused)) + names)


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Another connection's statement is to be cancelled; *key* is what the other was given for it."""

    key: bytes


async def meet(
    stream: Stream, encrypt: Callable[[bytes], Awaitable[Stream]] | None
) -> tuple[Buffered, Startup | CancelRequest]:
    """Read the start-up. Raises Refused, Malformed, ssl.SSLError and ConnectionError.

    *encrypt* gives the inside of TLS over the stream, which begins with the bytes given; None: TLS is not offered.
    """
    buffered, is_encrypted = Buffered(stream), False
    for _ in range(_MOST_QUESTIONS):
        first = await buffered.exactly(1)
        if first == DIRECT_TLS and encrypt is not None and not is_encrypted:
            buffered, is_encrypted = Buffered(await encrypt(first + buffered.rest)), True
            continue
        buffered.rest = first + buffered.rest
        body = await buffered.body(LARGEST_STARTUP)
        if len(body) < LENGTH.size:
            raise Malformed("a start-up without a version")
        (code,) = LENGTH.unpack_from(body)
        match code:
            case code if code == SSL_REQUEST and not is_encrypted:
                if buffered.rest:  # what came in the clear must not be taken for what was sent inside
                    raise Malformed("bytes before TLS was agreed on")
                if encrypt is None:
                    await stream.write(b"N")
                else:
                    await stream.write(b"S")
                    buffered, is_encrypted = Buffered(await encrypt(b"")), True
            case code if code == GSSENC_REQUEST and not is_encrypted:
                await stream.write(b"N")
            case code if code == CANCEL_REQUEST:
                return buffered, CancelRequest(body[4:])
            case code if code >> 16 == PROTOCOL_3 >> 16:
                return buffered, _startup(code, body[4:])
            case _:
                raise Refused("08P01", "this version of the protocol is not spoken here", "Speak version 3.")
    raise Malformed("no start-up")


def _startup(code: int, body: bytes) -> Startup:
    values = dict(pairs(body))
    extensions = tuple(name for name in values if name.startswith("_pq_."))
    for name in extensions:
        del values[name]
    if values.get("replication", "false").lower() not in ("false", "off", "no", "0"):
        raise Refused("28000", "the bastion passes no replication on")
    if not values.get("user"):
        raise Refused("28000", "no user was named")
    return Startup(parameters=values, is_newer=code > PROTOCOL_3, refused=extensions)
