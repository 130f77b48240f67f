"""A bastion that is killed amid a session of psql: the box is gone with it, and the next start clears the rest."""

from __future__ import annotations

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


def test_box_is_gone_with_a_killed_bastion_and_its_socket_with_the_next_start(
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
        box = descendants(world.bastion.pid)
        assert len(box) >= 3
        world.bastion.kill()
        wait_until(lambda: not any(map(is_running, box)), "the box gone")
        assert folder.exists()
        world.bastion.start()
    finally:
        child.close(force=True)
    assert not folder.exists()
    assert (rows(world)[0]["id"], rows(world)[0]["ending"]) == (session, "interrupted")
