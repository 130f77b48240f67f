"""Packets that no client sends: before sign-in, after it, and against the flow of channels.

Seeded, so that what fails once fails again. Whatever comes, the server serves others at once, logs no bug and nothing
that moves a terminal, and is as large afterwards as before.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import Boolean, Byte, NameList, String, UInt32

from tests.rig.openssh import Client
from tests.rig.world import World
from tests.server.raw_client import connect

ALLOWED_GROWTH = 20_000_000
LOG = re.compile(r"Traceback|task\.failed|[\x00-\x08\x0b-\x1f\x7f]")


@pytest.fixture
def alice(world: World) -> Client:
    return world.certified("alice")


@pytest.fixture(autouse=True)
def server_is_unimpressed(world: World, alice: Client) -> Iterator[None]:
    assert alice.run("web-1@localhost", "echo well").stdout == b"well\n"
    before = resident(world)
    yield
    assert alice.run("web-1@localhost", "echo well").stdout == b"well\n"
    assert resident(world) - before < ALLOWED_GROWTH
    assert LOG.findall(world.bastion.log) == []


def resident(world: World) -> int:
    """Bytes of memory that the server holds."""
    return int(Path(f"/proc/{world.bastion.pid}/statm").read_text().split()[1]) * 4096


# Before anybody has signed in

VERSIONS = [
    b"SSH-2.0-x\r\n",
    b"SSH-1.99-OpenSSH_3.9\r\n",
    b"SSH-2.0-" + b"\x1b[31m" * 20 + b"\r\n",
    b"SSH-2.0-\xff\xfe\r\n",
    b"first\nsecond\nSSH-2.0-y\r\n",
    b"",
]
NAMES = [b"", b"curve25519-sha256", b"," * 500, b"\xff" * 50, b"aes128-ctr", b"ssh-ed25519", b"none"]


def plain_packet(payload: bytes) -> bytes:
    """*payload* as a packet of RFC 4253 section 6, not yet encrypted."""
    padding = 8 - (len(payload) + 5) % 8
    padding += 8 if padding < 4 else 0
    return UInt32(len(payload) + padding + 1) + bytes([padding]) + payload + bytes(padding)


def early_bytes(numbers: random.Random) -> bytes:
    match numbers.randrange(5):
        case 0:
            return numbers.randbytes(numbers.randrange(5000))
        case 1:
            return plain_packet(bytes([numbers.randrange(256)]) + numbers.randbytes(500)) * 9
        case 2:  # something like the begin of a key exchange
            lists = b"".join(String(numbers.choice(NAMES)) for _ in range(numbers.randrange(12)))
            return plain_packet(b"\x14" + numbers.randbytes(16) + lists + bytes(5)) + numbers.randbytes(50)
        case 3:  # lengths that are none
            return bytes([0, 0, *numbers.randbytes(3)]) + numbers.randbytes(numbers.randrange(3000))
        case _:
            return b"\xff" * numbers.randrange(1, 400)


def test_malformed_bytes_before_sign_in(world: World) -> None:
    numbers = random.Random(1)
    for _ in range(150):
        with (
            socket.create_connection(("127.0.0.1", world.bastion.port), timeout=10) as client,
            suppress(ConnectionError),
        ):
            client.sendall(numbers.choice(VERSIONS) + early_bytes(numbers))
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass


# After it

TEXTS = [
    b"session", b"direct-tcpip", b"forwarded-tcpip", b"pty-req", b"env", b"exec", b"shell", b"subsystem",
    b"window-change", b"signal", b"break", b"x11-req", b"tcpip-forward", b"cancel-tcpip-forward",
    b"streamlocal-forward@openssh.com", b"direct-streamlocal@openssh.com", b"auth-agent-req@openssh.com",
    b"hostkeys-00@openssh.com", b"no-more-sessions@openssh.com", b"\x1b]0;x\x07", b"../../x", "\u202e".encode(),
]  # fmt: skip
KINDS = [*range(1, 256), *[80, 90, 90, 90, 93, 94, 95, 96, 97, 98, 98, 98] * 10]


def field(numbers: random.Random) -> bytes:
    match numbers.randrange(6):
        case 0:
            return UInt32(numbers.choice([0, 1, 2**31, 2**32 - 1]))
        case 1 | 2:
            return String(numbers.choice(TEXTS))
        case 3:
            return Boolean(numbers.random() < 0.5)
        case 4:
            return String(numbers.randbytes(numbers.randrange(60)))
        case _:
            return Byte(numbers.randrange(256)) + numbers.randbytes(numbers.randrange(8))


async def test_malformed_packets_after_sign_in(world: World, alice: Client) -> None:
    numbers = random.Random(2)
    for _ in range(60):
        connection = await connect(world, alice, numbers.choice(["web-1", "x"]))
        with suppress(OSError):
            for _ in range(numbers.randrange(1, 30)):
                fields = [field(numbers) for _ in range(numbers.randrange(7))]
                connection.send_packet(numbers.choice(KINDS), *fields)
            await asyncio.sleep(0.02)
        connection.abort()


Game = Callable[[int], list[tuple[int, list[bytes]]]]
"""What is sent on a channel of that number: kinds of packet, and what is in them."""

GAMES: dict[str, Game] = {
    "window beyond all bounds": lambda number: [(93, [UInt32(number), UInt32(2**32 - 1)])] * 5,
    "window by one byte": lambda number: [(93, [UInt32(number), UInt32(1)])] * 5000,
    "more data than the window": lambda number: [(94, [UInt32(number), String(b"x" * 32768)])] * 200,
    "packet larger than agreed": lambda number: [(94, [UInt32(number), String(b"x" * 200_000)])],
    "data of no bytes": lambda number: [(94, [UInt32(number), String(b"")])] * 5000,
    "data after its end": lambda number: [(96, [UInt32(number)]), (94, [UInt32(number), String(b"late")])],
    "end again and again": lambda number: [(96, [UInt32(number)])] * 100,
    "close again and again": lambda number: [(97, [UInt32(number)])] * 100,
    "errors of a client": lambda number: [(95, [UInt32(number), UInt32(7), String(b"x")])],
    "channels that are not there": lambda _: [(kind, [UInt32(9999)]) for kind in range(91, 101)],
    "answers to nothing": lambda _: [(81, []), (82, [])] * 50,
    "key exchange begun again and again": lambda _: [
        (20, [bytes(16), *[NameList([b"x"])] * 10, Boolean(False), UInt32(0)])
    ] * 50,
    "sign-in once more": lambda _: [(50, [String(b"root"), String(b"ssh-connection"), String(b"none")])] * 50,
    "thousands of channels at once": lambda _: [
        (90, [String(b"session"), UInt32(number), UInt32(2**31), UInt32(32768)]) for number in range(3000)
    ],
    "questions": lambda _: [(80, [String(b"x" * 100), Boolean(True)])] * 5000,
    "remarks": lambda _: [(4, [Boolean(True), String(b"\x1b[31mevil" * 20), String(b"")])] * 2000,
}  # fmt: skip


@pytest.mark.parametrize("name", GAMES)
async def test_games_with_channels_hurt_nobody_else(world: World, alice: Client, name: str) -> None:
    connection = await connect(world, alice)
    with suppress(asyncssh.Error, OSError):
        process = await connection.create_process("cat", encoding=None)
        for at, (kind, fields) in enumerate(GAMES[name](process.channel._send_chan or 0)):
            connection.send_packet(kind, *fields)
            if at % 500 == 499:
                await asyncio.sleep(0)
        await connection.run("true")  # answered, or the connection is gone: it has all been read
    connection.abort()


async def test_thousand_channels_one_after_another_leave_nothing_behind(world: World, alice: Client) -> None:
    async with await connect(world, alice, "x") as connection:

        async def whoami() -> int | None:
            return (await connection.run("whoami", encoding=None)).exit_status

        for _ in range(25):
            assert set(await asyncio.gather(*(whoami() for _ in range(40)))) == {0}


def test_keys_exchanged_anew_all_the_time_change_no_byte(alice: Client) -> None:
    done = alice.run("-v", "-o", "RekeyLimit=16", "web-1@localhost", "head -c 2000000 /dev/zero", timeout=60)
    assert (done.status, done.stdout) == (0, bytes(2_000_000))
    assert done.errors.count("kex: algorithm:") >= 3
