"""A client that takes nothing any more cannot hold its session open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.raw_client import connect
from tests.server.recorded import rows

LIMITS = """
[sessions]
warning = "1s"

[[policy.rules]]
name = "short visits"
groups = ["sre"]
targets = ["web-2"]
logins = ["ops"]
max_duration = "3s"
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("limited")) as world:
        world.configure(LIMITS, restart=True)
        for person in ("alice", "bob"):
            world.certified(person)
        yield world


async def test_longest_duration_holds_for_a_client_that_does_not_read(limited: World) -> None:
    alice = limited.certified("alice")
    async with await connect(limited, alice, "ops@web-2") as connection:
        process = await connection.create_process("yes", encoding=None)
        await process.stdout.read(1)
        await asyncio.to_thread(
            wait_until,
            lambda: rows(limited)[0]["ending"] == "time limit",
            "the end of the session",
            timeout=25,
        )
    assert limited.bastion.run("verify", rows(limited)[0]["id"]).status == 0


async def test_revocation_ends_a_session_whose_client_does_not_read(limited: World) -> None:
    bob = limited.certified("bob")
    async with await connect(limited, bob, "web-2") as connection:
        process = await connection.create_process("yes", encoding=None)
        await process.stdout.read(1)
        done = await asyncio.to_thread(limited.bastion.run, "cert", "revoke", "bob", "--reason", "gone")
        assert done.status == 0
        await asyncio.to_thread(
            wait_until, lambda: rows(limited)[0]["ending"] == "revoked", "the end of the session", timeout=25
        )
