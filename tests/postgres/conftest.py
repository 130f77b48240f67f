"""A real PostgreSQL server behind a whole bastion, and alice, whose ssh forwards a socket to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recorder.events import Happened
from recorder.reader import open_recording
from tests.kubernetes.pki import Pki
from tests.rig.openssh import Client
from tests.rig.postgres import Postgres, programs
from tests.rig.process import RigError, end, free_port, wait_until
from tests.rig.world import World

READER_PASSWORD = "s3cret-of-the-reader"
WRITER_PASSWORD = "s3cret-of-the-writer"
HBA = ("hostssl all orders_certified 127.0.0.1/32 cert", "hostssl all all 127.0.0.1/32 scram-sha-256")
"""Who may sign in to the server over the network, and how."""

TARGETS = """
[[targets]]
kind = "postgres"
name = "orders-db"
description = "Orders"
labels = {{ role = "database" }}
address = "127.0.0.1"
port = {port}
databases = ["orders", "archive"]
tls_ca = "{ca}"
login = "reader"

[[targets.accounts]]
login = "reader"
role = "orders_reader"
password_file = "{reader}"

[[targets.accounts]]
login = "writer"
role = "orders_writer"
password_file = "{writer}"

[[targets.accounts]]
login = "certified"
role = "orders_certified"
certificate_file = "{certificate}"
key_file = "{key}"

[[targets.accounts]]
login = "broken"
role = "nobody_like_this"
password_file = "{reader}"

[[policy.rules]]
name = "databases of operators"
groups = ["sre"]
targets = ["orders-db"]
logins = ["reader", "writer", "certified", "broken"]

[[policy.rules]]
name = "databases of developers"
groups = ["dev"]
targets = ["orders-db"]
logins = ["reader"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """The server, the bastion, and where alice's ssh listens: a socket in a folder, and a *port* on 127.0.0.1.

    *authority* is the certificate that clients are given to know the bastion by.
    """

    server: Postgres
    world: World
    alice: Client
    sockets: Path
    port: int
    authority: Path

    def command(self, *arguments: str) -> list[str]:
        """The command that runs alice's own psql, which finds the server where her ssh listens."""
        return [str(programs() / "psql"), "-X", "-h", str(self.sockets), *arguments]

    def psql(
        self, *arguments: str, stdin: str = "", timeout: float = 30, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.command(*arguments),
            input=stdin, capture_output=True, text=True, check=False, timeout=timeout,
            env={**os.environ, "PGUSER": "", "PGSSLMODE": "disable", **variables},
        )  # fmt: skip

    def recorded(self) -> Path:
        """The newest recording, once it is sealed."""
        newest = self.world.recordings[-1]
        wait_until(
            lambda: '"s"' in newest.read_text().rstrip().rsplit("\n", 1)[-1][:20], "the recording sealed"
        )
        return newest


def statements(recording: Path) -> list[Happened]:
    """The statements that a recording tells of."""
    with open_recording(recording) as reader:
        return [e.event for e in reader if isinstance(e.event, Happened) and e.event.what == "sql"]


@pytest.fixture(scope="package")
def orders() -> Iterator[Orders]:
    try:
        programs()
    except RigError as error:
        pytest.skip(str(error))
    # Not below pytest's own folder: the server's user must get there, and sockets have short names.
    with tempfile.TemporaryDirectory(prefix="orders-") as folder, orders_in(Path(folder)) as orders:
        yield orders


@contextlib.contextmanager
def orders_in(folder: Path, settings: str = "") -> Iterator[Orders]:
    """All of it in *folder*; *settings* are more sections of the bastion's configuration."""
    with contextlib.ExitStack() as stack:
        folder.chmod(0o755)
        pki = Pki(folder / "pki")
        (folder / "ca.crt").write_text(pki.ca)
        server = stack.enter_context(Postgres(folder / "pg", certificate=pki.server(), ca=pki.ca))
        fill(server)
        world = stack.enter_context(World(folder / "world"))
        certificate, key = pki.client("orders_certified")
        files = {}
        for login, password in (("reader", READER_PASSWORD), ("writer", WRITER_PASSWORD)):
            files[login] = folder / f"{login}.password"
            files[login].touch(mode=0o600)
            files[login].write_text(f"{password}\n")
        world.configure(
            TARGETS.format(port=server.port, ca=folder / "ca.crt", certificate=certificate, key=key, **files)
            + settings,
            restart=bool(settings),
        )
        alice = world.certified("alice")
        port = free_port()
        sockets = stack.enter_context(
            listening(alice, folder / "s", "-L", f"127.0.0.1:{port}:orders-db:5432")
        )
        authority = folder / "bastion.crt"
        authority.write_text(world.bastion.run("ca", "show", "tls").text)
        yield Orders(server=server, world=world, alice=alice, sockets=sockets, port=port, authority=authority)


@contextlib.contextmanager
def listening(alice: Client, sockets: Path, *options: str) -> Iterator[Path]:
    """A folder in which her ssh, with these *options*, listens for what wants to go to the server."""
    sockets.mkdir(mode=0o700)
    forwarding = alice.popen("-N", *options, "-L", f"{sockets}/.s.PGSQL.5432:orders-db:5432", "x@localhost")
    try:
        wait_until((sockets / ".s.PGSQL.5432").exists, "alice's ssh listening")
        yield sockets
    finally:
        end(forwarding)


def fill(server: Postgres) -> None:
    """Roles and data."""
    server.allow(*HBA)
    server.sql(
        f"CREATE ROLE orders_reader LOGIN PASSWORD '{READER_PASSWORD}'",
        f"CREATE ROLE orders_writer LOGIN PASSWORD '{WRITER_PASSWORD}'",
        "CREATE ROLE orders_certified LOGIN",
        "CREATE DATABASE orders",
        "CREATE DATABASE archive",
    )
    server.sql(
        "CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, added timestamptz DEFAULT now())",
        "INSERT INTO items SELECT n, 'item ' || n, n * 1.5 FROM generate_series(1, 5000) n",
        "GRANT SELECT ON items TO orders_reader, orders_certified",
        "GRANT ALL ON items TO orders_writer",
        "GRANT ALL ON SCHEMA public TO orders_writer",
        database="orders",
    )
