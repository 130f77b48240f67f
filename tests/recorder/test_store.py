"""A store begins recordings that can be kept, ends all that it began, and is alone in its folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from recorder.catalog import is_live, read_row, recordings
from recorder.disk import THREADS, reading
from recorder.errors import FolderInUse, RecorderError, RecordingFailed
from recorder.events import Input, Output
from recorder.index import FILE, Filter
from recorder.names import place
from recorder.reader import open_recording
from recorder.store import Store
from recorder.verify import verify_file
from tests.recorder.casts import FACTS, KEY, STARTED, header


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_recording_stands_in_the_folder_of_its_day(store: Store, folder: Path) -> None:
    recording = await store.begin(header())
    assert re.fullmatch(r"261124-[0-9a-hjkmnp-tv-z]{7}", recording.id)
    assert recording.path == folder / "2026/11/24" / f"{recording.id}.cast"
    assert recording.path == folder / place(recording.id)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_only_the_owner_can_read_what_is_recorded(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        store = await Store.open(tmp_path / "recordings", key=KEY)
        recording = await store.begin(header())
        assert mode(recording.path) == mode(tmp_path / "recordings" / FILE) == 0o600
        for folder in recording.path.parents[:4]:
            assert mode(folder) == 0o700
        await store.close()
    finally:
        os.umask(before)


async def test_a_new_recording_is_listed_as_live_and_a_sealed_one_as_it_ended(store: Store) -> None:
    recording = await store.begin(header())
    await recording.append([Input(b"ls\r"), Output(b"a\r\n")])
    (row,) = await store.index.list()
    assert (row.id, row.ending, row.ended_at, row.user, row.groups) == (
        recording.id, "live", None, "alice", ("dev", "ops"),
    )  # fmt: skip
    assert is_live(recording.path)
    await recording.seal("exited", 3)
    (row,) = await store.index.list(Filter(user="alice"))
    assert (row.ending, row.exit_status, row.output_bytes, row.input_bytes) == ("exited", 3, 3, 3)
    assert row.ended_at is not None and row.facts == FACTS and row.started_at == STARTED
    assert not is_live(recording.path)


async def test_a_second_server_on_the_folder_is_refused(store: Store, folder: Path) -> None:
    with pytest.raises(FolderInUse, match="Another server") as refusal:
        await Store.open(folder, key=KEY)
    assert "folder" in refusal.value.hint
    recording = await store.begin(header())  # and the first one is none the worse
    await recording.append([Output(b"x")])


async def test_a_closed_store_gives_its_folder_back(folder: Path) -> None:
    for _ in range(2):
        await (await Store.open(folder, key=KEY)).close()


async def test_a_folder_that_others_can_read_is_refused_with_the_command_that_mends_it(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    with pytest.raises(RecorderError) as refusal:
        await Store.open(folder, key=KEY)
    assert refusal.value.hint == f"chmod 700 {folder}"
    folder.chmod(0o700)
    await (await Store.open(folder, key=KEY)).close()


async def test_a_folder_that_is_a_file_is_refused(folder: Path) -> None:
    folder.touch()
    with pytest.raises(RecorderError, match="cannot be used"):
        await Store.open(folder, key=KEY)


async def test_a_recording_is_refused_when_the_disk_is_nearly_full(folder: Path) -> None:
    store = await Store.open(folder, key=KEY, min_free_bytes=1 << 62)
    with pytest.raises(RecordingFailed, match="nearly full") as refusal:
        await store.begin(header())
    assert (
        str(folder) not in refusal.value.message
    )  # the message goes to the person, the hint to the operator
    assert "MiB" in refusal.value.hint
    assert await store.index.list() == []
    assert list(folder.rglob("*.cast")) == []
    await store.close()


@pytest.fixture
def unwritable_year(folder: Path) -> Iterator[Path]:
    """A folder in which nothing can be made, where the recordings would go: for root that takes a mount."""
    year = folder / "2026"
    year.mkdir(mode=0o500, parents=True)
    folder.chmod(0o700)
    if os.geteuid() != 0:
        yield year
        year.chmod(0o700)
        return
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", year], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("root may write everywhere, and cannot mount a read-only tmpfs here")
    yield year
    subprocess.run(["umount", year], check=True)


@pytest.mark.usefixtures("unwritable_year")
async def test_a_recording_is_refused_when_the_folder_cannot_be_written(folder: Path) -> None:
    store = await Store.open(folder, key=KEY)
    with pytest.raises(RecordingFailed, match="cannot be written"):
        await store.begin(header())
    assert store.live == ()
    await store.close()


async def test_a_recording_is_refused_when_something_else_stands_in_its_place(
    store: Store, folder: Path
) -> None:
    (folder / "2026").touch()
    with pytest.raises(RecordingFailed, match="cannot be written"):
        await store.begin(header())


async def test_a_taken_id_is_not_taken_twice(folder: Path) -> None:
    draws = iter([b"AAAAA", b"AAAAA", b"BBBBB"])
    store = await Store.open(folder, key=KEY, random=lambda size: next(draws))
    first, second = await store.begin(header()), await store.begin(header())
    assert first.id != second.id
    await store.close()


async def test_closing_seals_what_is_still_running(folder: Path) -> None:
    store = await Store.open(folder, key=KEY)
    recordings = [await store.begin(header()) for _ in range(3)]
    await recordings[0].append([Output(b"x")])
    await store.close()
    for recording in recordings:
        verdict = verify_file(recording.path, [KEY.verify_key])
        assert verdict.is_intact and verdict.seal is not None
        assert verdict.seal.session.ending == "server stopped"


async def test_nothing_begins_once_the_store_is_closed(folder: Path) -> None:
    store = await Store.open(folder, key=KEY)
    await store.close()
    with pytest.raises(RecordingFailed):
        await store.begin(header())


async def test_a_session_cancelled_while_its_recording_begins_leaves_none_open(store: Store) -> None:
    for steps in range(12):
        task = asyncio.get_running_loop().create_task(store.begin(header()))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    while store._tasks:
        await asyncio.wait(store._tasks)
    rows = await store.index.list()
    assert len(rows) >= 1
    assert {row.ending for row in rows} == {"failed"}
    assert store.live == ()


async def test_the_seal_survives_the_cancellation_of_the_one_who_asked_for_it(store: Store) -> None:
    recording = await store.begin(header())
    task = asyncio.get_running_loop().create_task(recording.seal("exited", 0))
    await asyncio.sleep(0)
    task.cancel()
    await recording.seal("failed", None)  # waits for the first, and changes nothing
    verdict = verify_file(recording.path, [KEY.verify_key])
    assert verdict.seal is not None and verdict.seal.session.ending == "exited"
    assert [row.ending for row in await store.index.list()] == ["exited"]


async def test_many_recordings_at_once_do_not_mix(store: Store) -> None:
    async def session(number: int) -> tuple[Path, bytes]:
        recording = await store.begin(header())
        chunks = [f"{number}:{n} ".encode() * (n + 1) for n in range(30)]
        for chunk in chunks:
            await recording.append([Output(chunk)])
        await recording.seal("exited", number)
        return recording.path, b"".join(chunks)

    for path, sent in await asyncio.gather(*(session(n) for n in range(20))):
        assert verify_file(path, [KEY.verify_key]).is_intact
        with open_recording(path) as recording:
            assert (
                b"".join(entry.event.data for entry in recording if isinstance(entry.event, Output)) == sent
            )


async def test_an_index_that_fails_ends_no_session(store: Store, folder: Path) -> None:
    """It is derived: the failure is logged, and the next write brings it up with the files."""
    with closing(sqlite3.connect(folder / FILE)) as meddler:
        meddler.execute("DROP TABLE sessions")
    with structlog.testing.capture_logs() as logs:
        lost = await store.begin(header())
        await lost.append([Output(b"x")])
    assert [entry["event"] for entry in logs] == ["index.behind"]
    await lost.seal("exited", 0)
    assert [(row.id, row.ending) for row in await store.index.list()] == [(lost.id, "exited")]


async def test_a_probe_does_not_disturb_the_server(store: Store) -> None:
    recording = await store.begin(header())
    descriptor = os.open(recording.path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.close(descriptor)
    await recording.append([Output(b"x")])


class StalledDisk:
    """A disk that takes no new files until it is released: it stalls the thread in which a recording begins."""

    def __init__(self) -> None:
        self.answers = threading.Event()

    def random(self, count: int) -> bytes:
        self.answers.wait()
        return os.urandom(count)


async def test_a_disk_that_stalls_holds_up_nobody_but_those_who_begin_sessions(folder: Path) -> None:
    disk = StalledDisk()
    store = await Store.open(folder, key=KEY, random=disk.random)
    loop = asyncio.get_running_loop()
    beginning = [loop.create_task(store.begin(header())) for _ in range(60)]
    # Signing in looks up names, and whoever replays reads: each in threads, of which there are not sixty.
    assert await loop.getaddrinfo("localhost", 22)
    assert await reading(lambda: "read") == "read"
    assert await store.index.list() == []
    assert not any(task.done() for task in beginning)
    disk.answers.set()
    assert len({recording.id for recording in await asyncio.gather(*beginning)}) == 60
    await store.close()


async def test_whoever_wants_a_session_is_told_that_the_disk_does_not_answer(folder: Path) -> None:
    disk = StalledDisk()
    store = await Store.open(folder, key=KEY, random=disk.random, patience=0.0)
    for _ in range(60):
        with pytest.raises(RecordingFailed, match="the disk for recordings does not answer"):
            await store.begin(header())
    disk.answers.set()
    await store.close()
    rows = [read_row(folder, path) for path in recordings(folder)]
    assert len(rows) <= THREADS  # those whose thread waited already; the others were not begun any more
    assert {row.ending for row in rows} <= {"failed"}


async def test_the_index_is_read_while_a_write_to_it_waits(store: Store, folder: Path) -> None:
    recording = await store.begin(header())
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        sealing = asyncio.get_running_loop().create_task(recording.seal("exited", 0))
        while not read_row(folder, recording.path).ended_at:
            await asyncio.sleep(0)
        assert [row.ending for row in await store.index.list()] == ["live"]
        assert not sealing.done()
        other.execute("ROLLBACK")
        await sealing
    assert [row.ending for row in await store.index.list()] == ["exited"]
