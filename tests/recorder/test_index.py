"""The index answers what was recorded; it can be lost, broken or old, and comes back from the files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.catalog import SessionRow, read_row
from recorder.errors import AmbiguousSession, NoSuchSession, RecorderError
from recorder.events import Input, Output
from recorder.index import FILE, Filter, Index, rebuild
from recorder.names import SessionId, place
from recorder.store import Store
from tests.recorder.casts import ID, KEY, cast, header


def put_cast(folder: Path, session_id: str = ID, *, is_sealed: bool = True) -> Path:
    """A recording in *folder*, made without a store."""
    path = folder / place(SessionId(session_id))
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = cast([[Output(b"abc"), Input(b"x")]], is_sealed=is_sealed)
    path.write_bytes(b"".join(lines).replace(ID.encode(), session_id.encode()))
    return path


@pytest.fixture
def row(folder: Path) -> SessionRow:
    """A row as it comes from a file."""
    return read_row(folder, put_cast(folder))


async def test_a_row_comes_back_as_it_was_put(folder: Path, row: SessionRow) -> None:
    index = await Index.open(folder)
    await index.put([row])
    assert await index.list() == [row]
    assert (row.output_bytes, row.input_bytes, row.groups, row.ending) == (3, 1, ("dev", "ops"), "exited")
    await index.close()


async def test_sessions_are_filtered_and_listed_newest_first(folder: Path, row: SessionRow) -> None:
    index = await Index.open(folder)
    ids = [SessionId(f"261124-000000{n}") for n in range(4)]
    await index.put(
        replace(
            row, id=ids[n], started_at=float(n), user="bob" if n % 2 else "alice", target=f"web-{n}",
            kind="postgres" if n == 3 else "ssh", groups=("dba",) if n == 2 else ("dev",),
            ending="live" if n == 0 else "exited",
        )
        for n in range(4)
    )  # fmt: skip

    async def listed(**narrow: object) -> list[int]:
        return [ids.index(found.id) for found in await index.list(Filter(**narrow)) if found.id != ID]  # type: ignore[arg-type]

    assert await listed() == [3, 2, 1, 0]
    assert await listed(user="alice") == [2, 0]
    assert await listed(target="web-1") == [1]
    assert await listed(kind="postgres") == [3]
    assert await listed(group="dba") == [2]
    assert await listed(group="db") == []
    assert await listed(ending="live") == [0]
    assert await listed(since=1.0, until=3.0) == [2, 1]
    assert await listed(user="bob", since=2.0) == [3]
    assert len(await index.list(Filter(limit=2))) == 2
    await index.close()


async def test_a_session_is_found_by_its_id_or_either_end_of_it(folder: Path, row: SessionRow) -> None:
    index = await Index.open(folder)
    await index.put(
        replace(row, id=SessionId(text)) for text in ("261124-k7f3m9q", "261124-aaaam9q", "251124-k7f3m9r")
    )
    for text in ("261124-k7f3m9q", "261124-k", "f3m9q", "k7f3m9q", " 261124-K7F3M9Q ", "251124", "9r"):
        assert (await index.find(text)).id.startswith("251124" if text in ("251124", "9r") else "261124-k")
    with pytest.raises(AmbiguousSession, match="261124-aaaam9q, 261124-k7f3m9q"):
        await index.find("m9q")
    for text in ("zzz", "", "  ", "7f3", "%", "261124-k7f3m9_"):
        with pytest.raises(NoSuchSession):
            await index.find(text)
    await index.close()


async def test_letters_that_look_like_digits_are_understood(folder: Path, row: SessionRow) -> None:
    index = await Index.open(folder)
    await index.put([replace(row, id=SessionId("261124-0100000"))])
    assert (await index.find("26ii24-oloOOOo")).id == "261124-0100000"
    await index.close()


async def test_a_session_that_ended_does_not_come_back_to_life(folder: Path, row: SessionRow) -> None:
    index = await Index.open(folder)
    await index.put([row])
    await index.put([replace(row, ending="live", ended_at=None)])
    assert [found.ending for found in await index.list()] == ["exited"]
    await index.close()


async def test_rebuilding_finds_every_recording_and_says_what_is_none(folder: Path) -> None:
    put_cast(folder)
    put_cast(folder, "261124-0000000", is_sealed=False)
    misnamed = put_cast(folder).with_name("261124-1111111.cast")
    misnamed.write_bytes(put_cast(folder).read_bytes())
    (folder / "2026/11/24/261124-2222222.cast").write_bytes(b"rubbish\n")
    (folder / "2026/11/24/notes.txt").write_text("x")
    broken = await rebuild(folder)
    assert {path.stem: error.line for path, error in broken} == {"261124-1111111": 1, "261124-2222222": 1}
    index = await Index.open_read(folder)
    assert {(row.id, row.ending) for row in await index.list()} == {
        (ID, "exited"),
        ("261124-0000000", "live"),
    }
    await index.close()


async def test_rebuilding_forgets_what_has_gone(folder: Path) -> None:
    put_cast(folder)
    await rebuild(folder)
    put_cast(folder).unlink()
    await rebuild(folder)
    index = await Index.open(folder)
    assert await index.list() == []
    await index.close()


def make_old(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "DROP TABLE sessions; CREATE TABLE sessions (id TEXT); PRAGMA user_version = 0;"
        )


def drop_the_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript("DROP TABLE sessions;")


def overwrite_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database at all" * 500),
        overwrite_the_middle,
        make_old,
        drop_the_table,
    ],
    ids=["missing", "empty", "no database", "corrupt", "old schema", "no table"],
)
@pytest.mark.parametrize("reader", [Index.open, Index.open_read])
async def test_an_index_that_cannot_be_used_is_made_anew(folder: Path, harm: object, reader: object) -> None:
    put_cast(folder)
    await rebuild(folder)
    harm(folder / FILE)  # type: ignore[operator]
    index = await reader(folder)  # type: ignore[operator]
    assert [(row.id, row.ending) for row in await index.list()] == [(ID, "exited")]
    await index.close()


async def test_others_read_the_index_while_the_server_writes_it(store: Store, folder: Path) -> None:
    recording = await store.begin(header())
    reading = await Index.open_read(folder)
    assert [row.ending for row in await reading.list()] == ["live"]
    await recording.seal("exited", 0)
    assert [row.ending for row in await reading.list()] == ["exited"]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await reading.put(await reading.list())
    await reading.close()


async def test_the_index_can_be_rebuilt_beside_a_running_server(store: Store, folder: Path) -> None:
    recording = await store.begin(header())
    assert await rebuild(folder) == []
    await recording.append([Output(b"x")])
    await recording.seal("exited", 0)
    assert [row.ending for row in await store.index.list()] == ["exited"]


async def test_a_folder_that_was_moved_is_found_where_it_is_now(folder: Path, tmp_path: Path) -> None:
    store = await Store.open(folder, key=KEY)
    await (await store.begin(header())).seal("exited", 0)
    await store.close()
    moved = folder.rename(tmp_path / "elsewhere")
    store = await Store.open(moved, key=KEY)
    (row,) = await store.index.list()
    assert row.path.is_relative_to(moved) and row.path.exists()
    await store.close()


async def test_an_index_in_a_place_where_none_can_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(RecorderError, match="cannot be opened"):
        await Index.open(tmp_path)
