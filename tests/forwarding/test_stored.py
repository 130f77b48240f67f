"""The contents of what is forwarded, where they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recorder.reader import Reader
from tests.forwarding.services import echo, greet, served
from tests.forwarding.tunnels import connected, forwarding, master, read, recording, sessions, talk
from tests.rig.openssh import Client
from tests.rig.process import free_port, wait_until
from tests.rig.world import World
from tests.server.recorded import streams


def test_contents_are_kept_in_a_recording_of_each_connection(
    alice: Client, world: World, short: Path
) -> None:
    """And each can be ended by itself."""
    world.configure("[recording]\nforwarded_contents = true")
    data = bytes(range(256)) * 999
    with served(echo) as port:
        assert alice.run("-W", f"localhost:{port}", "web-1@bastion", stdin=data).stdout == data
    whole = forwarding(world)
    kept = next(row for row in sessions(world) if row["command"] == f"localhost:{port}")
    assert (kept["action"], kept["ending"]) == ("forward", "exited")
    file = recording(world, kept["id"])
    with file.open("rb") as opened:
        assert Reader(opened).header.facts["within"] == whole["id"]
    assert (streams(file).input, streams(file).output) == (data, data)
    wait_until(lambda: whole["id"] in world.bastion.run("search", f"localhost:{port}").text, "it is found")
    local = free_port()
    with served(greet) as port, master(alice, short / "mux", "-L", f"{local}:localhost:{port}"):
        with connected(local) as running, connected(local) as other:
            assert (read(running, 3), read(other, 3)) == (b"220", b"220")
            live = [row for row in sessions(world) if row["command"] == f"localhost:{port}"]
            assert world.bastion.run("kill", live[0]["id"]).status == 0
            wait_until(lambda: session_of(world, live[0]["id"])["ending"] == "ended by operator", "it ended")
            assert session_of(world, live[1]["id"])["ending"] == "live"
            other.sendall(b"x")
        assert talk(connected(local), b"y") == b"220 at your service\r\ny"


def session_of(world: World, session: str) -> dict[str, Any]:
    """What is listed of a session."""
    return next(row for row in sessions(world) if row["id"] == session)
