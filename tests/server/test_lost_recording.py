"""A recording whose file is gone: whoever asks for it is told, and their other channels go on."""

from __future__ import annotations

import asyncio

from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.raw_client import connect, shown
from tests.server.recorded import rows


def test_lost_recording_is_told_on_its_channel_alone(world: World) -> None:
    alice = world.certified("alice")
    assert alice.run("web-1@localhost", "echo lost").status == 0
    wait_until(lambda: rows(world)[0]["ending"] == "exited", "the session to end")
    session = rows(world)[0]["id"]
    world.recordings[-1].unlink()

    async def ask() -> None:
        async with await connect(world, alice, "x") as connection:
            other = await connection.create_process("web-1 cat", encoding=None)
            for command in (f"play {session}", f"verify {session}", f"follow {session}"):
                done = await connection.run(command, encoding=None)
                assert done.exit_status not in (None, 0), command
                assert b"bastion: " in shown(done) or session.encode() in shown(done)
            other.stdin.write(b"still here\n")
            assert await other.stdout.readline() == b"still here\n"
            terminal = await connection.create_process(f"play {session}", term_type="xterm", encoding=None)
            assert (await terminal.wait()).exit_status not in (None, 0)

    asyncio.run(ask())
