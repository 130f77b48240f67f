"""A session of psql amid which its bastion is killed: nobody else gets at its socket, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from tests.box.conversation import Psql
from tests.rig.postgres import Postgres
from tests.rig.process import descendants, is_running, wait_until
from tests.rig.world import World
from tests.server.recorded import rows

TARGET = """
[[targets]]
kind = "postgres"
name = "orders-db"
address = "127.0.0.1"
port = {port}
databases = ["postgres"]
tls = "off"

[[targets.accounts]]
login = "owner"
role = "postgres"

[[policy.rules]]
name = "databases"
groups = ["sre"]
targets = ["orders-db"]
logins = ["owner"]
"""


def answer_to_us(folder: Path) -> bytes:
    """What another process of the bastion's user hears that asks for TLS at a box's socket."""
    place = os.open(folder, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(f"/proc/self/fd/{place}/.s.PGSQL.5432")
            try:
                client.sendall(bytes.fromhex("0000000804d2162f"))
                return client.recv(1)
            except ConnectionError:
                return b""
    finally:
        os.close(place)


def test_socket_is_for_the_box_alone_which_is_gone_with_a_killed_bastion_and_it_with_the_next_start(
    world: World, server: Postgres, psql: Psql
) -> None:
    world.configure(TARGET.format(port=server.port))
    child = world.certified("alice").spawn("-t", "x@localhost", "orders-db")
    try:
        child.expect_exact("postgres=# ")
        session = rows(world)[0]["id"]
        folder = world.data / "run" / session
        assert [path.name for path in folder.iterdir()] == [".s.PGSQL.5432"]
        assert folder.stat().st_mode & 0o777 == 0o700
        assert answer_to_us(folder) == b""  # we are no process in the box
        child.sendline("SELECT 'goes ' || 'on';")
        child.expect_exact("goes on")
        box = descendants(world.bastion.pid)
        assert len(box) >= 3
        os.kill(world.bastion.pid, signal.SIGKILL)  # it alone
        wait_until(lambda: not any(map(is_running, box)), "the box gone")
        assert folder.exists()
        world.bastion.kill()
        world.bastion.start()
    finally:
        child.close(force=True)
    assert not folder.exists()
    assert (rows(world)[0]["id"], rows(world)[0]["ending"]) == (session, "interrupted")
