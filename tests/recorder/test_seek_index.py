"""What is kept of key points, and whom it is trusted for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from recorder import feed, seek_index
from recorder.events import Event, Noted, Output
from recorder.header import Header
from recorder.index import Filter
from recorder.names import SessionId
from recorder.seek_feed import enter_points, forget_points_of, rebuild_points
from recorder.seek_index import Kept, read_kept
from recorder.store import Store
from tests.recorder.casts import KEY, STARTED


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small recordings are worth keeping here, in this process."""
    monkeypatch.setattr(feed, "LONG", 1 << 30)
    monkeypatch.setattr(seek_index, "WORTH_KEEPING", 1000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "recordings", key=KEY, is_searchable=False)
    yield opened
    await opened.close()


async def record(store: Store, *events: Event) -> tuple[SessionId, Path]:
    recording = await store.begin(Header(started_at=STARTED, columns=80, rows=24, terminal="xterm"))
    await recording.append(list(events))
    await recording.seal("exited", 0)
    await store.seek.wait()
    return recording.id, recording.path


def lines(count: int) -> Iterator[Event]:
    return (Output(b"line %d\r\n" % number * 900) for number in range(count))


async def kept(store: Store, events: int = 40) -> tuple[SessionId, Path, Kept]:
    session, path = await record(store, Noted("first"), *lines(events))
    found = read_kept(store.folder, session, path)
    assert found is not None
    return session, path, found


async def test_a_sealed_recording_gets_key_points_without_any_text_of_it(store: Store) -> None:
    _, path, found = await kept(store)
    assert len(found.points) > 1
    assert (found.columns, found.rows) == (80, 24)
    assert [note.time for note in found.points.notes] == [pytest.approx(0.0, abs=1)]
    for file in store.folder.glob("seek.db*"):
        assert b"line" not in file.read_bytes()
        assert b"first" not in file.read_bytes()
    assert not (store.folder / "search.db").exists()
    assert path.exists()


async def test_a_short_recording_has_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seek_index, "WORTH_KEEPING", 1 << 20)
    session, path = await record(store, *lines(3))
    assert read_kept(store.folder, session, path) is None


async def test_those_of_a_recording_that_was_changed_are_not_used(store: Store) -> None:
    session, path, _ = await kept(store)
    path.chmod(0o600)
    data = path.read_bytes()
    for changed in (data + b"x", data[:-1], data.replace(b'"rows":24', b'"rows":25', 2)):
        path.write_bytes(changed)
        assert read_kept(store.folder, session, path) is None


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"x" * 200])
async def test_an_index_that_is_broken_is_as_none_and_is_made_anew(store: Store, content: bytes) -> None:
    session, path, _ = await kept(store)
    (store.folder / seek_index.FILE).write_bytes(content)
    assert read_kept(store.folder, session, path) is None
    enter_points(store.folder, session, path)
    assert read_kept(store.folder, session, path) is not None


async def test_what_is_missing_is_made_at_the_next_start_and_what_is_gone_is_forgotten(store: Store) -> None:
    first, first_path, _ = await kept(store)
    second, second_path, _ = await kept(store)
    (store.folder / seek_index.FILE).unlink()
    await store.recover()
    await store.seek.wait()
    assert read_kept(store.folder, first, first_path) is not None
    row = await store.index.find(second)
    await store.index.remove([second])
    await store.recover()
    assert row.path == second_path


async def test_a_rebuild_makes_all_of_them(store: Store) -> None:
    session, path, _ = await kept(store)
    (store.folder / seek_index.FILE).write_bytes(b"junk")
    rows = await store.index.list(Filter())
    assert [row.id for row in rebuild_points(store.folder, rows)] == [session]
    assert read_kept(store.folder, session, path) is not None
    assert not (store.folder / "search.db").exists()


async def test_a_removed_recording_leaves_none(store: Store) -> None:
    session, path, _ = await kept(store)
    forget_points_of(store.folder, {session})
    assert read_kept(store.folder, session, path) is None
