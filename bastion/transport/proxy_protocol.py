"""The PROXY protocol, versions 1 and 2: a load balancer says whom it speaks for, ahead of everything else.

Strict: what is not exactly such a header ends the connection. It is read of named addresses alone, and of them it must
come, so that nobody can say it by themselves. See https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

import structlog

log = structlog.get_logger()

HEADER_TIMEOUT: Final = 5.0
"""Seconds that a load balancer has to say whom it speaks for."""

_BINARY: Final = b"\r\n\r\n\0\r\nQUIT\n"
_TEXT: Final = b"PROXY "
_LONGEST_TEXT: Final = 107
_LONGEST_BINARY: Final = 16 + 2048
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}")
_ADDRESS_BYTES: Final = {0x11: 4, 0x21: 16}
"""Of TCP over IPv4 and over IPv6, the lengths of an address."""


class HeaderError(ValueError):
    """What came is no header of the PROXY protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeader:
    """A header of *length* bytes. *source* is whom it speaks for; None is the load balancer itself (a health check)."""

    source: tuple[str, int] | None
    length: int


def read_header(data: bytes) -> ProxyHeader | None:
    """The header that *data* begins with; None if more must come first. Raises HeaderError."""
    if data.startswith(_BINARY):
        return _binary(data)
    if data.startswith(_TEXT):
        return _text(data)
    if _BINARY.startswith(data) or _TEXT.startswith(data):
        return None
    raise HeaderError("it does not begin as a header does")


def _text(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _LONGEST_TEXT)
    if end < 0:
        if len(data) >= _LONGEST_TEXT:
            raise HeaderError("its line is too long")
        return None
    words = data[:end].decode("latin-1").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader(source=None, length=end + 2)
    version = {"TCP4": 4, "TCP6": 6}.get(words[1])
    if version is None or len(words) != 6 or not all(_is_port(port) for port in words[4:]):
        raise HeaderError("its line is not PROXY TCP4|TCP6 and two addresses with two ports")
    try:
        source, destination = (ipaddress.ip_address(word) for word in words[2:4])
    except ValueError as error:
        raise HeaderError(str(error)) from None
    if (source.version, destination.version) != (version, version):
        raise HeaderError("its addresses are of another kind than it says")
    return ProxyHeader(source=(str(source), int(words[4])), length=end + 2)


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text) <= 65535


def _binary(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    command, family, size = data[12], data[13], int.from_bytes(data[14:16], "big")
    length = 16 + size
    if length > _LONGEST_BINARY:
        raise HeaderError("it is too long")
    if command not in (0x20, 0x21):
        raise HeaderError("it is of no version and command we know")
    if len(data) < length:
        return None
    if command == 0x20 or family == 0:  # LOCAL, or somebody whose address has no form
        return ProxyHeader(source=None, length=length)
    width = _ADDRESS_BYTES.get(family)
    if width is None or size < 2 * width + 4:
        raise HeaderError("it speaks for something else than TCP")
    address = ipaddress.ip_address(data[16 : 16 + width])
    port = int.from_bytes(data[16 + 2 * width : 18 + 2 * width], "big")
    return ProxyHeader(source=(str(address), port), length=length)


class Announced(asyncio.Protocol):
    """Reads the header of a connection if it comes from one of *proxies*, and hands it over to what *make* makes."""

    def __init__(self, make: Callable[[], asyncio.Protocol], proxies: Callable[[], Sequence[str]]) -> None:
        self._make = make
        self._proxies = proxies
        self._transport: asyncio.Transport | None = None
        self._begun = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if peer is None or not _is_among(peer[0], tuple(self._proxies())):
            self._hand_over(self._transport, b"")
        else:
            self._timer = asyncio.get_running_loop().call_later(HEADER_TIMEOUT, self._refuse, "none came")

    def data_received(self, data: bytes) -> None:
        transport, self._begun = self._transport, self._begun + data
        if transport is None or transport.is_closing():
            return
        try:
            header = read_header(self._begun)
        except HeaderError as error:
            self._refuse(str(error))
            return
        if header is not None:
            rest = self._begun[header.length :]
            source = header.source
            self._hand_over(
                transport if source is None else cast(asyncio.Transport, _Spoken(transport, source)), rest
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()

    def _hand_over(self, transport: asyncio.Transport, rest: bytes) -> None:
        self._forget_timer()
        assert self._transport is not None
        protocol = self._make()
        self._transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if rest:
            protocol.data_received(rest)

    def _refuse(self, reason: str) -> None:
        self._forget_timer()
        assert self._transport is not None
        peer = self._transport.get_extra_info("peername")
        log.warning("proxy-protocol.refused", proxy=peer[0] if peer else "", reason=reason)
        self._transport.abort()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class _Spoken:
    """A transport whose peer is the one that a load balancer speaks for."""

    def __init__(self, transport: asyncio.Transport, peer: tuple[str, int]) -> None:
        self._transport = transport
        self._peer = peer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._peer if name == "peername" else self._transport.get_extra_info(name, default)


@lru_cache(maxsize=1024)
def _is_among(address: str, networks: tuple[str, ...]) -> bool:
    if not networks:
        return False
    there = ipaddress.ip_address(address.partition("%")[0])
    return any(there in ipaddress.ip_network(network) for network in networks)
