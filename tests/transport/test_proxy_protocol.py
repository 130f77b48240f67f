"""The PROXY protocol: exactly what the specification says is understood, byte by byte, and nothing else."""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastion.transport import proxy_protocol
from bastion.transport.proxy_protocol import Announced, HeaderError, ProxyHeader, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = bytes([203, 0, 113, 9, 198, 51, 100, 1]) + (40000).to_bytes(2, "big") + (22).to_bytes(2, "big")
V6 = (
    ipaddress.ip_address("2001:db8::9").packed
    + bytes(16)
    + (40000).to_bytes(2, "big")
    + (22).to_bytes(2, "big")
)


def binary(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(payload).to_bytes(2, "big") + payload


GOOD = {
    b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 22\r\n": ("203.0.113.9", 40000),
    b"PROXY TCP6 2001:db8::9 2001:db8::1 40000 22\r\n": ("2001:db8::9", 40000),
    b"PROXY TCP4 203.0.113.9 198.51.100.1 0 65535\r\n": ("203.0.113.9", 0),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n": None,
    binary(0x21, 0x11, V4): ("203.0.113.9", 40000),
    binary(0x21, 0x11, V4 + b"\x04\x00\x02ab"): ("203.0.113.9", 40000),  # with more about the connection
    binary(0x21, 0x21, V6): ("2001:db8::9", 40000),
    binary(0x20, 0x00, b""): None,
    binary(0x21, 0x00, b""): None,
}


@pytest.mark.parametrize(("header", "source"), GOOD.items())
def test_a_header_is_understood_once_it_is_whole_and_no_byte_more_is_taken(
    header: bytes, source: tuple[str, int] | None
) -> None:
    assert all(read_header(header[:end]) is None for end in range(len(header)))
    assert read_header(header + b"SSH-2.0-x\r\n") == ProxyHeader(source=source, length=len(header))


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n", b"PROXX", b"\r\n\r\n\0\r\nQUIX", b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 40000\r\n",
        b"PROXY TCP4  203.0.113.9 198.51.100.1 40000 22\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 22 \r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 040000 22\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 70000 22\r\n",
        b"PROXY TCP4 203.0.113.9 198.51.100.1 -1 22\r\n",
        b"PROXY TCP4 2001:db8::9 198.51.100.1 40000 22\r\n",
        b"PROXY TCP4 example.com 198.51.100.1 40000 22\r\n",
        b"PROXY UDP4 203.0.113.9 198.51.100.1 40000 22\r\n",
        b"PROXY " + b"x" * 120,
        binary(0x31, 0x11, V4), binary(0x22, 0x11, V4), binary(0x21, 0x12, V4), binary(0x21, 0x31, bytes(216)),
        binary(0x21, 0x11, V4[:11]), binary(0x21, 0x11, bytes(3000)),
    ],
)  # fmt: skip
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(HeaderError):
        read_header(data)


async def test_a_load_balancer_that_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_protocol, "HEADER_TIMEOUT", 0.05)
    made: list[asyncio.Protocol] = []

    def make() -> asyncio.Protocol:
        made.append(asyncio.Protocol())
        return made[-1]

    def announced() -> Announced:
        return Announced(make, lambda: ["127.0.0.0/8"])

    server = await asyncio.get_running_loop().create_server(announced, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"PROXY TCP4 ")
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    assert not made


@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]),
    st.binary(max_size=200),
)
def test_nothing_else_comes_of_any_bytes(begin: bytes, rest: bytes) -> None:
    try:
        header = read_header(begin + rest)
    except HeaderError:
        return
    assert header is None or header.length <= len(begin + rest)
