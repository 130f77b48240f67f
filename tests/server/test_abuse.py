"""What a signed-in client that means harm can do: little, to itself, and politely refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncssh
import pytest
from asyncssh.constants import MSG_CHANNEL_DATA
from asyncssh.packet import Boolean, String, UInt32

from tests.rig.openssh import Client
from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.raw_client import connect, shown
from tests.server.recorded import rows, wait_for_ending


@pytest.fixture
def alice(world: World) -> Client:
    return world.certified("alice")


def resident(world: World) -> int:
    """The memory of the server, in bytes."""
    status = Path(f"/proc/{world.bastion.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def sockets(world: World) -> int:
    """How many the server has open. Files do not count: the search index reads recordings in its own time."""
    count = 0
    for link in Path(f"/proc/{world.bastion.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            count += str(link.readlink()).startswith("socket:")
    return count


@pytest.fixture(scope="module")
def at_rest(world: World) -> int:
    """The sockets of the server when nobody is there."""
    assert world.certified("alice").run("web-1@localhost", "true").status == 0
    wait_until(lambda: rows(world)[0]["ending"] == "exited", "the warm-up to end")
    return sockets(world)


@pytest.fixture(autouse=True)
def server_is_unimpressed(world: World, alice: Client, at_rest: int) -> Iterator[None]:
    """After each test the server has no more connections than at rest, serves at once, and logged no bug."""
    yield
    assert alice.run("web-1@localhost", "echo well").stdout == b"well\n"
    wait_until(lambda: sockets(world) <= at_rest, f"{at_rest} sockets, as before", timeout=15)
    assert "task.failed" not in world.bastion.log
    assert "Traceback" not in world.bastion.log


# What is not offered


@pytest.mark.parametrize("forward", [("-R", "0:127.0.0.1:1"), ("-R", "/nowhere/x:127.0.0.1:1")])
def test_remote_forwards_are_refused(alice: Client, forward: tuple[str, str]) -> None:
    done = alice.run("-o", "ExitOnForwardFailure=yes", *forward, "web-1@localhost", "true")
    assert done.status == 255
    assert "remote port forwarding failed" in done.errors


def test_agent_and_x11_are_refused_and_the_session_goes_on(alice: Client) -> None:
    done = alice.run("-A", "-X", "web-1@localhost", "echo agent:$SSH_AUTH_SOCK x:$DISPLAY")
    assert done.stdout == b"agent: x:\n"


async def test_channel_types_that_nobody_knows_are_refused_one_by_one(world: World, alice: Client) -> None:
    async with await connect(world, alice) as connection:
        for kind in (b"", b"nonsense", b"x11", b"auth-agent@openssh.com", b"a" * 10_000):
            channel: asyncssh.SSHTCPChannel[bytes] = connection.create_tcp_channel(encoding=None)
            with pytest.raises(asyncssh.ChannelOpenError):
                await channel._open(kind)
        assert (await connection.run("echo still here", encoding=None)).stdout == b"still here\n"


async def test_local_forward_to_nowhere_is_refused(world: World, alice: Client) -> None:
    async with await connect(world, alice) as connection:
        for host, port in (("127.0.0.1", 22), ("", 0), ("../evil", 22), ("x" * 5000, 65535)):
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection(host, port)


@pytest.mark.parametrize("name", ["netconf", "sftp\x1b[31m", "../sftp", "s" * 5000, ""])
async def test_subsystem_that_is_not_offered_is_refused(world: World, alice: Client, name: str) -> None:
    async with await connect(world, alice) as connection:
        process = await connection.create_process(subsystem=name or " ", encoding=None)
        done = await process.wait()
        assert done.exit_status == 77
        assert b"\x1b" not in shown(done)


async def test_request_on_a_channel_that_nobody_knows_is_refused(world: World, alice: Client) -> None:
    async with await connect(world, alice) as connection:
        process = await connection.create_process("sleep 1", encoding=None)
        for request in (b"nonsense", b"x" * 10_000, b"subsystem", b"shell"):
            arguments = [String(b"x")] if request == b"subsystem" else []
            assert not await process.channel._make_request(request, *arguments)
        assert (await process.wait()).exit_status == 0


async def test_more_channels_than_one_connection_may_have_are_refused(world: World, alice: Client) -> None:
    async with await connect(world, alice, "x") as connection:
        held = [await connection.create_process(term_type="xterm", encoding=None) for _ in range(64)]
        with pytest.raises(asyncssh.ChannelOpenError, match="too many"):
            await connection.create_process("whoami", encoding=None)
        held.pop().close()
        await asyncio.sleep(0.2)
        done = await connection.run("whoami", encoding=None)
        assert b"alice" in shown(done)


# Names and sizes

CONTROLS = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")
HOSTILE = [
    "../../etc/passwd",
    "\x1b[2Jevil",
    "a\nb",
    "аlice",
    "x" * 1000,
    "foo@bar@baz",
    "%n%s{0}",
    "@",
    "a@",
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_word_is_told_without_control_characters(
    world: World, alice: Client, name: str
) -> None:
    async with await connect(world, alice, "x") as connection:
        done = await connection.run(f"{name}@web-1 id", encoding=None)
        assert done.exit_status in (64, 77)
        assert shown(done).startswith(b"bastion: ")
        assert not CONTROLS.search(shown(done))
        listed = await connection.run(f"{name} id", encoding=None)
        assert not CONTROLS.search(shown(listed))
    assert "\x1b" not in world.bastion.log


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.isprintable() and name != "@"])
async def test_hostile_user_name_opens_nothing(world: World, alice: Client, name: str) -> None:
    async with await connect(world, alice, name) as connection:
        done = await connection.run("whoami", encoding=None)
        assert done.exit_status in (0, 64)
        assert b"alice" in shown(done)


@pytest.mark.parametrize(
    "command", ["printf '\x1b[31m\x00'", "", " ", "echo \u202egnp.exe", "true # " + "x" * 100_000]
)
async def test_strange_command_runs_and_is_listed_without_control_characters(
    world: World, alice: Client, command: str
) -> None:
    async with await connect(world, alice) as connection:
        process = await connection.create_process(command or " ", encoding=None)
        process.stdin.write_eof()
        assert (await process.wait()).exit_status is not None
    listed = alice.run("localhost", "sessions")
    assert listed.status == 0
    assert not CONTROLS.search(listed.stdout)
    assert "\x1b" not in world.bastion.run("sessions").text


async def test_windows_of_no_size_and_of_enormous_size_are_recorded(world: World, alice: Client) -> None:
    for size in ((0, 0, 0, 0), (2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1)):
        async with await connect(world, alice) as connection:
            process = await connection.create_process(
                "stty size; echo done", term_type="xterm", term_size=size, encoding=None
            )
            process.channel.change_terminal_size(*size)
            assert b"done" in shown(await process.wait())
        newest = world.recordings[-1]
        assert world.bastion.run("verify", str(newest)).status == 0
        assert world.bastion.run("play", newest.stem).status == 0


async def test_window_of_no_size_opens_a_picker(world: World, alice: Client) -> None:
    for size in ((0, 0), (1, 1), (2**31, 2**31)):
        async with await connect(world, alice, "x") as connection:
            process = await connection.create_process(term_type="xterm", term_size=size, encoding=None)
            process.channel.change_terminal_size(*size)
            assert await process.stdout.read(1)
            process.stdin.write(b"\x03")
            await asyncio.wait_for(process.wait(), 5)


@pytest.mark.parametrize("term", ["", "\x1b[31m", "x" * 5000, "../../x", "xterm\nx"])
async def test_hostile_terminal_type_is_survived(world: World, alice: Client, term: str) -> None:
    async with await connect(world, alice, "x") as connection:
        process = await connection.create_process(term_type=term or " ", term_size=(80, 24), encoding=None)
        assert await process.stdout.read(1)
        process.stdin.write(b"\x03")
        await asyncio.wait_for(process.wait(), 5)


# Floods


async def test_client_that_stops_reading_a_flood_leaves_memory_flat(world: World, alice: Client) -> None:
    connection = await connect(world, alice)
    try:
        process = await connection.create_process("yes", encoding=None, window=2**31 - 1)
        await process.stdout.read(1)
        connection._transport.pause_reading()  # type: ignore[union-attr]
        await asyncio.sleep(1)
        before = resident(world)
        await asyncio.sleep(4)
        assert resident(world) - before < 20_000_000
    finally:
        connection.abort()
    await asyncio.to_thread(wait_for_ending, world, "client disconnected")


async def test_client_that_begins_a_rekey_and_stops_leaves_memory_flat(world: World, alice: Client) -> None:
    connection = await connect(world, alice)
    try:
        process = await connection.create_process("yes", encoding=None, window=2**31 - 1)
        await process.stdout.read(1)
        connection.data_received = lambda data, datatype=None: None  # type: ignore[method-assign]
        connection._send_kexinit()
        await asyncio.sleep(1)
        before = resident(world)
        await asyncio.sleep(4)
        assert resident(world) - before < 20_000_000
    finally:
        connection.abort()
    await asyncio.to_thread(wait_for_ending, world, "client disconnected")


async def test_bytes_sent_one_a_packet_cost_neither_memory_nor_time(world: World, alice: Client) -> None:
    count = 30_000
    async with await connect(world, alice) as connection:
        process = await connection.create_process("sleep 4; cat | wc -c", encoding=None)
        process.stdin.write(b"x" * 4_000_000)  # more than all windows on the way
        await asyncio.sleep(1)
        before = resident(world)
        channel = process.channel
        for at in range(count):
            if channel._send_window:
                channel._send_window -= 1
                connection.send_packet(MSG_CHANNEL_DATA, UInt32(channel._send_chan or 0), String(b"y"))
            if at % 1000 == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert resident(world) - before < 40_000_000
        assert (await asyncio.to_thread(alice.run, "web-1@localhost", "true")).status == 0
        process.stdin.write_eof()
        assert (await process.wait()).exit_status == 0


async def test_flood_of_signals_ends_its_channel_and_leaves_memory_flat(world: World, alice: Client) -> None:
    async with await connect(world, alice, "x") as connection:
        process = await connection.create_process("play", encoding=None)
        await asyncio.sleep(0.5)
        before = resident(world)
        with suppress(OSError):
            for _ in range(40):
                for _ in range(1000):
                    connection.send_packet(
                        98,
                        UInt32(process.channel._send_chan or 0),
                        String(b"signal"),
                        Boolean(False),
                        String(b"HUP" * 40),
                    )
                await asyncio.sleep(0)
        assert resident(world) - before < 30_000_000


async def test_flood_of_resizes_and_signals_passes(world: World, alice: Client) -> None:
    async with await connect(world, alice) as connection:
        process = await connection.create_process(
            "read x; stty size", term_type="xterm", term_size=(80, 24), encoding=None
        )
        for at in range(3000):
            process.channel.change_terminal_size(80 + at % 50, 24)
            if at % 100 == 0:
                process.channel.send_signal("CONT")
        process.channel.change_terminal_size(111, 33)
        process.stdin.write(b"\n")
        done = await asyncio.wait_for(process.wait(), 15)
        assert b"33 111" in shown(done)
