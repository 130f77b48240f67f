"""A source that connects again and again and never signs in is not served for a while."""

from __future__ import annotations

import socket

from tests.rig.process import wait_until
from tests.rig.world import World


def test_scanner_is_turned_away_and_people_elsewhere_are_not(own_world: World) -> None:
    world = own_world
    alice = world.certified("alice")
    settings = world.bastion.config.read_text()
    world.bastion.config.write_text(
        settings.replace("[server]\n", '[server]\npenalty_exempt = ["127.0.0.2/32"]\n', 1)
    )
    world.bastion.stop()
    world.bastion.start()
    wait_until(lambda: scanned(world), "the scanner turned away")
    assert alice.run("web-1@localhost", "true").status == 255
    assert alice.run("-b", "127.0.0.2", "web-1@localhost", "echo in").text == "in\n"


def scanned(world: World) -> bool:
    """Connect and leave; whether that is refused by now."""
    with socket.create_connection(("127.0.0.1", world.bastion.port), timeout=5) as scanner:
        answer = scanner.recv(100)
    assert answer.startswith(b"SSH-2.0-") or "failed to sign in too often" in world.bastion.log
    return not answer
