"""How what is forwarded ends when people, targets or the server do."""

from __future__ import annotations

from pathlib import Path

from tests.forwarding.services import greet, served
from tests.forwarding.tunnels import connected, forwarding, master, read, read_all, talk
from tests.rig.openssh import Client
from tests.rig.process import free_port
from tests.rig.world import World


def test_a_lock_ends_what_is_forwarded_and_lets_nothing_more_through(world: World, short: Path) -> None:
    bob, local = world.jumper("bob"), free_port()
    with (
        served(greet) as port,
        master(bob, short / "mux", "-L", f"{local}:localhost:{port}", to="web-2@bastion"),
    ):
        with connected(local) as running:
            assert read(running, 3) == b"220"
            assert world.bastion.run("user", "lock", "bob", "--reason", "left").status == 0
            read_all(running)
        try:
            forwarding(world, ending="revoked")
            assert talk(connected(local), b"x") == b""
        finally:
            world.bastion.run("user", "unlock", "bob")
        assert talk(connected(local), b"x") == b"220 at your service\r\nx"


def test_a_target_that_goes_ends_the_session_and_the_next_connection_begins_another(
    alice: Client, world: World, short: Path
) -> None:
    local = free_port()
    with served(greet) as port, master(alice, short / "mux", "-L", f"{local}:localhost:{port}"):
        with connected(local) as running:
            assert read(running, 3) == b"220"
            world.web_1.drop_sessions()
            read_all(running)
        first = forwarding(world, ending="target disconnected")
        assert talk(connected(local), b"x") == b"220 at your service\r\nx"
    assert forwarding(world)["id"] != first["id"]


def test_a_server_that_stops_waits_for_connections_but_not_for_silence(
    alice: Client, world: World, short: Path
) -> None:
    local = free_port()
    with served(greet) as port, master(alice, short / "mux", "-L", f"{local}:localhost:{port}"):
        assert talk(connected(local), b"x")
        world.bastion.stop()
    world.bastion.start()
    assert forwarding(world, ending="server stopped")["ending"] == "server stopped"
