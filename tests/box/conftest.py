"""A real server with nothing in front of it: what the box holds is tried against it directly."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bastion.connectors.postgres.psql_program import boxable_psql, psql_problem
from tests.box.conversation import Psql
from tests.rig.postgres import Postgres, programs
from tests.rig.process import RigError


@pytest.fixture(scope="package")
def server() -> Iterator[Postgres]:
    try:
        programs()
    except RigError as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(prefix="box-") as name:  # the server's user must get there
        folder = Path(name)
        folder.chmod(0o755)
        # A statement whose client is gone ends at once, and holds nobody up.
        with Postgres(folder / "pg", settings={"client_connection_check_interval": "'100ms'"}) as running:
            running.allow("host all postgres 127.0.0.1/32 trust")
            yield running


@pytest.fixture(scope="package")
def psql(server: Postgres) -> Psql:
    """psql, and a folder that holds the server's socket and nothing else, as the one of a session does."""
    if problem := psql_problem():
        pytest.skip(problem)
    sockets = server.folder.parent / "s"
    sockets.mkdir(mode=0o700)
    os.link(server.folder / f".s.PGSQL.{server.port}", sockets / ".s.PGSQL.5432")
    return Psql(program=boxable_psql(), sockets=sockets)
