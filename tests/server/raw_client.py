"""An SSH client that does what no stock client would, for tests of what a hostile one can do."""

from __future__ import annotations

import asyncssh

from tests.rig.openssh import Client
from tests.rig.world import World


async def connect(world: World, person: Client, username: str = "web-1") -> asyncssh.SSHClientConnection:
    """Sign in with the certificate of *person*."""
    return await asyncssh.connect(
        "127.0.0.1",
        world.bastion.port,
        username=username,
        client_keys=[(str(person.key), str(person.certificate))],
        known_hosts=None,
        config=None,
        agent_path=None,
    )


def shown(result: asyncssh.SSHCompletedProcess) -> bytes:
    """What a command wrote on both streams."""
    texts = (result.stdout, result.stderr)
    assert all(isinstance(text, bytes) for text in texts)
    return b"".join(bytes(text) for text in texts if isinstance(text, bytes))
