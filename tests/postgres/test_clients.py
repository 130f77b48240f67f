"""Drivers and clients of others, straight to the server and through the bastion: what they see is the same.

`scripts/databases` installs them. psycopg 3, asyncpg, psql, pg_dump and pgbench have tests beside this one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.postgres.conftest import WRITER_PASSWORD, Orders, statements
from tests.rig.process import wait_for_end, wait_until

HERE = Path(__file__).parent / "clients"
PLACE = Path(sys.prefix) / "clients"
"""Where scripts/databases puts them."""

DRIVERS = """
import io, ssl, sys, threading
import pg8000.native, psycopg2, psycopg2.extras, sqlalchemy
host, port, user, password = sys.argv[1:]
place = dict(host=host, port=int(port), user=user, password=password)
c = psycopg2.connect(**place, dbname="orders", sslmode="require")
u = c.cursor()
u.execute("SELECT %s, %s", (1, "x")); print(u.fetchall())
u.execute("CREATE TEMP TABLE t (a int, b text)")
u.copy_expert("COPY t FROM STDIN CSV", io.StringIO('1,"x,y"\\n2,y\\n'))
psycopg2.extras.execute_values(u, "INSERT INTO t VALUES %s", [(n, "v") for n in range(500)]); print(u.rowcount)
o = io.StringIO(); u.copy_expert("COPY (SELECT * FROM t ORDER BY a, b LIMIT 3) TO STDOUT", o); print(o.getvalue())
parts = c.cursor("parts"); parts.itersize = 100
parts.execute("SELECT id FROM items ORDER BY id"); print(sum(r[0] for r in parts))
u.execute(f"LISTEN p{port}"); u.execute(f"NOTIFY p{port}, 'paper'"); c.commit(); c.poll()
print([n.payload for n in c.notifies])
threading.Timer(0.3, c.cancel).start()
try: u.execute("SELECT pg_sleep(30)")
except psycopg2.errors.QueryCanceled as error: print(error.pgcode)
c.close()
for driver in ("psycopg", "psycopg2"):
    options = dict(place, dbname="orders", sslmode="require")
    engine = sqlalchemy.create_engine(f"postgresql+{driver}://", connect_args=options)
    found = sqlalchemy.inspect(engine)
    print([(each["name"], str(each["type"])) for each in found.get_columns("items")], found.get_pk_constraint("items"))
    with engine.connect().execution_options(stream_results=True) as c:
        print(sum(1 for _ in c.execute(sqlalchemy.text("SELECT id FROM items"))))
    engine.dispose()
inside = ssl.create_default_context(); inside.check_hostname = False; inside.verify_mode = ssl.CERT_NONE
c = pg8000.native.Connection(**place, database="orders", ssl_context=inside)
print(c.run("SELECT :a, 1.5::numeric", a="x"))
try: c.run("SELECT 1/0")
except pg8000.native.DatabaseError as error: print(error.args[0]["C"])
c.run("CREATE TEMP TABLE t (a int)"); c.run("COPY t FROM STDIN", stream=io.BytesIO(b"1\\n2\\n"))
o = io.BytesIO(); c.run("COPY t TO STDOUT", stream=o); print(o.getvalue())
c.close()
"""


def need(*programs: str | Path) -> None:
    for program in programs:
        if not (shutil.which(program) or Path(program).exists()):
            pytest.skip(f"{program} is not here; scripts/databases says why")


def both(
    direct: list[str | Path], through: list[str | Path], folder: Path | None = None
) -> tuple[list[str], list[str]]:
    """What each of two commands says, run at the same time."""
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
        for command in (direct, through)
    ]
    said = [process.communicate(timeout=90)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    return said[0].splitlines(), said[1].splitlines()


def test_pgjdbc_in_its_ways_of_asking_and_what_tools_ask_of_it(orders: Orders) -> None:
    """Over TLS with everything verified: the host is where ssh listens, for JDBC knows no other way."""
    jar = PLACE / "postgresql-42.7.14.jar"
    need("java", jar)
    program: list[str | Path] = ["java", "-XX:TieredStopAtLevel=1", "-cp", jar, HERE / "Jdbc.java"]
    straight = f"jdbc:postgresql://127.0.0.1:{orders.server.port}/orders?sslmode=require"
    proved = f"sslmode=verify-full&sslrootcert={orders.authority}"
    direct, through = both(
        [*program, straight, "orders_writer", WRITER_PASSWORD],
        [*program, f"jdbc:postgresql://localhost:{orders.port}/orders?{proved}", "writer", "any will do"],
    )
    assert through == direct
    assert "SHOUT" in through
    told = statements(orders.recorded())
    assert [s.facts["copied"] for s in told if s.facts.get("tag") == "COPY 2"] == [21]


def test_node_postgres(orders: Orders) -> None:
    need("node", PLACE / "node_modules" / "pg")
    program: list[str | Path] = ["node", "--no-deprecation", HERE / "pg.mjs"]
    direct, through = both(
        [*program, "127.0.0.1", str(orders.server.port), "orders_writer", WRITER_PASSWORD, "require"],
        [*program, "127.0.0.1", str(orders.port), "writer", "any", orders.authority],
        PLACE,
    )
    assert through == direct
    assert through[-1] == "5000000"


def test_psycopg2_sqlalchemy_and_pg8000(orders: Orders) -> None:
    need(PLACE / "bin" / "pgcli")  # installed with them
    program: list[str | Path] = [PLACE / "bin" / "python", "-c", DRIVERS]
    direct, through = both(
        [*program, "127.0.0.1", str(orders.server.port), "orders_writer", WRITER_PASSWORD],
        [*program, "127.0.0.1", str(orders.port), "writer", "any"],
    )
    assert through == direct
    assert through[-1] == "b'1\\n2\\n'"


def test_pgcli_completes_describes_cancels_and_leaves(orders: Orders, tmp_path: Path) -> None:
    need(PLACE / "bin" / "pgcli")
    environment = {
        "HOME": str(tmp_path), "TERM": "xterm", "PAGER": "cat", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8",
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }  # fmt: skip
    child = pexpect.spawn(
        str(PLACE / "bin" / "pgcli"), ["-h", str(orders.sockets), "-U", "reader", "-d", "orders"],
        env=environment, timeout=20, encoding="utf-8", dimensions=(50, 160),
    )  # fmt: skip
    try:
        child.expect_exact("orders>")
        child.send("SELECT 'is he' || 're' FROM ite")
        # The names come in the background; what is typed before they are there is not completed.
        while child.expect_exact(["items", pexpect.TIMEOUT], timeout=0.5):
            assert child.isalive()
            child.send("\x7fe")
        child.send("ms LIMIT 1\r")
        child.expect_exact("is here")
        child.send("\\d items\r")
        child.expect_exact("items_pkey")
        child.send("SELECT pg_sleep(60)\r")
        asked = (
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"
        )
        wait_until(lambda: orders.server.sql(asked) == "1", "the statement in the server")
        child.sendintr()
        child.expect_exact("cancelled query")
        child.send("\\c archive\r")
        child.expect_exact('now connected to database "archive"')
        child.send("\\q\r")
        wait_for_end(child)
    finally:
        child.close(force=True)
    # It has connections beside the one that a person types into: each is a session.
    told = [each for recording in orders.world.recordings[-8:] for each in statements(recording)]
    assert [each.facts["sqlstate"] for each in told if each.text == "SELECT pg_sleep(60)"] == ["57014"]
