"""Behind a load balancer that speaks the PROXY protocol: whose address counts."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.rig.openssh import Client
from tests.rig.world import World
from tests.server.recorded import events

BALANCER = "127.0.0.2"

PASS_ON = """
import os, socket, sys, threading
port, header = int(sys.argv[1]), bytes.fromhex(sys.argv[2])
peer = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
for byte in header:
    peer.sendall(bytes([byte]))
def back():
    while data := peer.recv(65536):
        os.write(1, data)
    os._exit(0)
threading.Thread(target=back).start()
while data := os.read(0, 65536):
    peer.sendall(data)
peer.shutdown(socket.SHUT_WR)
"""
V1 = b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 22\r\n"
V2 = bytes.fromhex("0d0a0d0a000d0a515549540a 2121 0024") + bytes.fromhex(
    "20010db8000000000000000000000009 00000000000000000000000000000001 9c40 0016"
)


@pytest.fixture(scope="module", autouse=True)
def balanced(world: World) -> None:
    config = world.bastion.config
    named = f'[server]\nproxy_protocol_from = ["{BALANCER}"]'
    config.write_text(config.read_text().replace("[server]", named, 1))
    world.reload()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    script = tmp_path / "balancer.py"
    script.write_text(PASS_ON)
    return script


def through(script: Path, alice: Client, header: bytes) -> list[str]:
    return ["-o", f"ProxyCommand={sys.executable} {script} {alice.port} '{header.hex()}'"]


@pytest.mark.parametrize(
    ("header", "address"),
    [(V1, "203.0.113.9:40000"), (V2, "[2001:db8::9]:40000"), (b"PROXY UNKNOWN\r\n", BALANCER)],
    ids=["version 1", "version 2", "unknown"],
)
def test_the_client_is_whom_the_load_balancer_speaks_for(
    world: World, script: Path, header: bytes, address: str
) -> None:
    alice = world.certified("alice")
    done = alice.run(*through(script, alice, header), "web-1@localhost", "hostname")
    assert done.text == "web-1\n", done.errors
    assert str(events(world, "session.started")[0]["client"]).startswith(address)
    assert f'"client":"{address}' in world.recordings[-1].read_text().partition("\n")[0]


def test_a_load_balancer_that_does_not_say_is_refused(world: World, script: Path) -> None:
    alice = world.certified("alice")
    done = alice.run(*through(script, alice, b""), "web-1@localhost", "hostname")
    assert done.status == 255
    assert "proxy-protocol.refused" in world.bastion.log


def test_from_everywhere_else_it_is_no_way_to_lie_about_an_address(world: World) -> None:
    alice, before = world.certified("alice"), world.bastion.log.count("203.0.113.9")
    with socket.create_connection(("127.0.0.1", alice.port), timeout=20) as peer:
        peer.sendall(V1)
        said = b""
        while chunk := peer.recv(4096):
            said += chunk
    assert b"SSH-2.0-" in said
    assert world.bastion.log.count("203.0.113.9") == before
    assert alice.run("web-1@localhost", "hostname").text == "web-1\n"
