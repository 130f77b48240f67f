"""What COPY carries, kept where the configuration says so: shown, given back by an export, and cut where it is long."""

from __future__ import annotations

import asyncio
import hashlib
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest

from bastion.connectors.postgres.binary_rows import SIGNATURE, BinaryRows
from bastion.connectors.postgres.contents import Copied
from recorder.events import Happened, Output
from recorder.reader import open_recording
from recorder.redaction import Redaction
from tests.postgres.conftest import Orders, orders_in, statements
from tests.rig.postgres import programs
from tests.rig.process import RigError, wait_until
from tests.server.recorded import streams

KEPT = 100_000


@pytest.fixture(scope="module")
def keeping() -> Iterator[Orders]:
    """A bastion that keeps 100,000 bytes of each COPY."""
    try:
        programs()
    except RigError as error:
        pytest.skip(str(error))
    settings = f"\n[recording]\ncopy_bytes = {KEPT}\n"
    with tempfile.TemporaryDirectory(prefix="orders-") as folder, orders_in(Path(folder), settings) as orders:
        yield orders


def connect(orders: Orders) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host=str(orders.sockets), user="writer", dbname="orders", autocommit=True)


def exported(orders: Orders, folder: Path) -> dict[str, bytes]:
    """The contents that an export of the newest recording gives back, by the names of their files."""
    done = orders.world.bastion.run(
        "export", orders.recorded().stem, "--format", "raw", "--output", str(folder / "raw")
    )
    assert done.status == 0, done.errors
    return {path.stem: path.read_bytes() for path in (folder / "raw").glob("contents-*.bin")}


class Interrupted(Exception):
    """Of the client itself, amid a COPY."""


def copy_in(connection: psycopg.Connection[tuple[object, ...]], *pieces: bytes | Interrupted) -> None:
    with connection.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
        for piece in pieces:
            if isinstance(piece, Interrupted):
                raise piece
            copy.write(piece)


def copied_out(orders: Orders, query: str) -> Iterator[bytes]:
    with (
        connect(orders) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT".encode()) as copy,
    ):
        yield from map(bytes, copy)


def copies(orders: Orders) -> list[dict[str, object]]:
    return [dict(s.facts) for s in statements(orders.recorded()) if "copied" in s.facts]


def test_both_directions_are_shown_and_given_back(keeping: Orders, tmp_path: Path) -> None:
    content = "1\tä\n2\t\\\\x\n".encode()
    with connect(keeping) as connection:
        connection.execute("CREATE TEMP TABLE t (n int, t text)")
        copy_in(connection, content[:4], content[4:])  # cut amid a character
        with connection.cursor() as cursor, cursor.copy("COPY t TO STDOUT") as copy:
            assert b"".join(map(bytes, copy)) == content
    shown = streams(keeping.recorded()).output.decode()
    digest = hashlib.sha256(content).hexdigest()
    for statement in ("COPY t FROM STDIN", "COPY t TO STDOUT"):
        assert f"{statement}\n{content.decode()}COPY 2, {len(content)} bytes, SHA-256 {digest}  (" in shown
    assert exported(keeping, tmp_path) == {"contents-1-in": content, "contents-2-out": content}
    told = [(c["copied"], c["kept"], c["sha256"]) for c in copies(keeping)]
    assert told == [(len(content), len(content), digest)] * 2


def test_what_is_sent_is_on_record_before_the_server_has_all_of_it(keeping: Orders) -> None:
    with connect(keeping) as connection:
        connection.execute("CREATE TEMP TABLE t (t text)")
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write(b"canary of the copy\n" * 4000)  # more than psycopg waits for
            wait_until(
                lambda: "canary of the copy" in keeping.world.recordings[-1].read_text(), "the data on record"
            )


def test_no_more_is_kept_than_the_setting_says(keeping: Orders, tmp_path: Path) -> None:
    """100 MB: the whole has a digest, and neither the recording nor the memory of the bastion grows with it."""
    line = b"x" * 999 + b"\n"
    digest = hashlib.sha256()
    for data in copied_out(keeping, "SELECT repeat('x', 999) FROM generate_series(1, 100000)"):
        digest.update(data)
    (told,) = copies(keeping)
    assert (told["copied"], told["kept"], told["sha256"]) == (100_000_000, KEPT, digest.hexdigest())
    assert exported(keeping, tmp_path) == {"contents-1-out": line * 100}
    shown = streams(keeping.recorded()).output.decode()
    assert (
        f"COPY 100000, 100,000,000 bytes (the first 100,000 are kept), SHA-256 {digest.hexdigest()}" in shown
    )
    assert keeping.recorded().stat().st_size < 3 * KEPT


async def test_binary_form_is_shown_as_rows_and_given_back_as_it_was(keeping: Orders, tmp_path: Path) -> None:
    connection = await asyncpg.connect(host=str(keeping.sockets), user="writer", database="orders", ssl=False)
    await connection.execute("CREATE TEMP TABLE t (n int, t text, b bytea)")
    records = [(1, "one", b"\x00\xff"), (None, "", None), (3, "x" * 5000, None)]
    await connection.copy_records_to_table("t", records=records)
    out = tmp_path / "out"
    await connection.copy_from_table("t", output=str(out), format="binary")
    await connection.close()
    await asyncio.to_thread(keeping.recorded)
    shown = streams(keeping.recorded()).output.decode()
    rows = "\\x00000001\tone\t\\x00ff\n\\N\t\t\\N\n\\x00000003\t" + "x" * 200 + "… (5000 bytes)\t\\N\n"
    assert shown.count(rows) == 2
    found = await asyncio.to_thread(exported, keeping, tmp_path)
    assert found["contents-1-in"] == found["contents-2-out"] == out.read_bytes()


def test_what_would_steer_a_terminal_is_shown_and_not_done(keeping: Orders, tmp_path: Path) -> None:
    content = b"".join(copied_out(keeping, "SELECT E'\\x1b[2Jgone \u009b31m'"))
    assert b"\x1b[2J" in content
    shown = streams(keeping.recorded()).output.decode()
    assert "\\x1b[2Jgone \\xc2\\x9b31m\n" in shown
    assert "\x1b" not in shown
    assert exported(keeping, tmp_path) == {"contents-1-out": content}


def test_copies_that_fail_are_told_apart(keeping: Orders, tmp_path: Path) -> None:
    """A client that hears an error sends no end; the next COPY is another one."""
    with connect(keeping) as connection:
        connection.execute("CREATE TEMP TABLE t (n int)")
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            copy_in(connection, *[b"no number\n"] * 20_000)
        with pytest.raises(Interrupted):
            copy_in(connection, b"5\n", Interrupted())
        copy_in(connection, b"6\n7\n")
    told = copies(keeping)
    assert [(c.get("sqlstate"), c.get("tag")) for c in told] == [
        ("22P02", None),
        ("57014", None),
        (None, "COPY 2"),
    ]
    assert [c["copied"] for c in told[1:]] == [2, 4]
    found = exported(keeping, tmp_path)
    assert (found["contents-2-in"], found["contents-3-in"]) == (b"5\n", b"6\n7\n")


def test_copies_of_one_statement_are_told_apart(keeping: Orders, tmp_path: Path) -> None:
    """psql before 18 sends the line that ends the data along with it."""
    copies_of_one = "COPY t FROM STDIN \\; COPY t FROM STDIN;\n1\n\\.\n2\n3\n\\.\n"
    done = keeping.psql(
        "-U", "writer", stdin=f"CREATE TEMP TABLE t (n int);\n{copies_of_one}COPY t TO STDOUT;\n"
    )
    assert done.stdout.endswith("1\n2\n3\n")
    found = {name: data.replace(b"\\.\n", b"") for name, data in exported(keeping, tmp_path).items()}
    assert found == {"contents-1-in": b"1\n", "contents-2-in": b"2\n3\n", "contents-3-out": b"1\n2\n3\n"}
    assert [c["tag"] for c in copies(keeping)] == ["COPY 1", "COPY 2", "COPY 3"]
    assert len({c["sha256"] for c in copies(keeping)}) == 3


def test_pg_dump_leaves_the_data_on_record(keeping: Orders, tmp_path: Path) -> None:
    place = ["-h", str(keeping.sockets), "-U", "writer", "-d", "orders"]
    dump: list[str | Path] = [programs() / "pg_dump", *place, "-Fc", "-t", "items", "-f", tmp_path / "dump"]
    assert subprocess.run(dump, check=False, timeout=60).returncode == 0
    (out,) = exported(keeping, tmp_path).values()
    assert len(out) == KEPT
    assert out.startswith(b"1\titem 1\t1.5\t")
    with open_recording(keeping.recorded()) as reader:
        told = [e.event.facts for e in reader if isinstance(e.event, Happened) and e.event.what == "contents"]
    assert sum(int(str(facts["size"])) for facts in told) == KEPT


def test_where_secrets_are_taken_out_nothing_is_kept_that_nobody_looks_into() -> None:
    part = Copied(100)
    part.add(b"\x1b[0mAKIAIOSFODNN7EXAMPLE")
    fact, shown = part.tell("out", is_binary=False)
    assert isinstance(fact, Happened)
    assert "base64" in fact.facts
    assert shown == Output(b"\\x1b[0mAKIAIOSFODNN7EXAMPLE")
    redacted, _ = Redaction().take([fact, shown])
    assert redacted == Happened("contents", "", {"id": 0, "direction": "out", "offset": 0, "size": 24})


@pytest.mark.parametrize("cut", range(1, 60))
def test_binary_rows_are_the_same_however_they_are_cut(cut: int) -> None:
    values = [b"\0\1", b"word", b"", b"v" * 300, b"\xc3\xa4"]
    row = (
        struct.pack("!h", 6) + b"".join(struct.pack("!i", len(v)) + v for v in values) + struct.pack("!i", -1)
    )
    data = (
        SIGNATURE
        + struct.pack("!II", 0, 3)
        + b"ext"
        + row * 3
        + struct.pack("!h", 0)
        + row
        + struct.pack("!h", -1)
    )
    line = "\\x0001\tword\t\t" + "v" * 200 + "… (300 bytes)\tä\t\\N\n"
    rows = BinaryRows()
    assert (
        "".join(rows.feed(data[at : at + cut]) for at in range(0, len(data), cut)) == line * 3 + "\n" + line
    )
    assert BinaryRows().feed(b"x" * 50) == "(no binary form that is known)\n"
