"""A disk that is really full: a small tmpfs, with the recordings and their index on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from recorder.errors import RecordingFailed
from recorder.events import ErrorOutput, Event, Input, Output
from recorder.index import FILE
from recorder.journal import Recording
from recorder.reader import open_recording
from recorder.seals import SealLog
from recorder.store import Store
from recorder.verify import verify_file
from tests.recorder.casts import KEY, header, streams


@pytest.fixture
def small_disk(small_disk: Path) -> Path:
    """Nearly filled by a file named ballast."""
    (small_disk / "ballast").write_bytes(bytes(400_000))
    return small_disk


async def fill(recording: Recording) -> list[bytes]:
    """Append until the disk is full; what was acknowledged by then of each stream."""
    done: list[Event] = []
    batch: list[Event] = [Output(b"0123456789\r\n" * 50), Input(b"\xff\xfe"), ErrorOutput(b"\xe6\x97")]
    failure: RecordingFailed | None = None
    while failure is None:
        try:
            await recording.append(batch)
            done += batch
        except RecordingFailed as error:
            failure = error
    assert failure.message == "the disk for recordings is full"
    return list(streams(done))


def recorded(path: Path, acknowledged: list[bytes]) -> list[bytes]:
    """The start of each stream in the file, as long as what was *acknowledged*: more may be there, never less."""
    with open_recording(path) as recording:
        whole = streams([entry.event for entry in recording])
    return [stream[: len(seen)] for stream, seen in zip(whole, acknowledged, strict=True)]


async def test_a_session_that_fills_the_disk_is_sealed_in_what_was_kept_for_that(small_disk: Path) -> None:
    store = await Store.open(small_disk / "recordings", key=KEY, min_free_bytes=16 * 100_000)
    (small_disk / "ballast").unlink()
    store._min_free_bytes = 0  # the disk is too small for the usual distance between the two limits
    recording = await store.begin(header())
    acknowledged = await fill(recording)
    with pytest.raises(RecordingFailed, match="full"):
        await recording.seal("exited", 0)
    verdict = verify_file(recording.path, [KEY.verify_key])
    assert verdict.is_intact and verdict.seal is not None
    assert verdict.seal.session.ending == "recording failed"
    assert recorded(recording.path, acknowledged) == acknowledged
    assert [row.ending for row in await store.index.list()] == ["recording failed"]
    await store.close()


async def test_a_session_ends_when_the_disk_is_full_and_loses_nothing(small_disk: Path) -> None:
    store = await Store.open(small_disk / "recordings", key=KEY, min_free_bytes=0)
    recording = await store.begin(header())
    acknowledged = await fill(recording)
    assert len(acknowledged[0]) > 100_000
    assert recorded(recording.path, acknowledged) == acknowledged
    with pytest.raises(RecordingFailed, match="full"):
        await recording.append([Output(b"more")])

    (small_disk / "ballast").unlink()  # somebody makes room before the session has been cleared away
    with pytest.raises(RecordingFailed, match="full"):
        await recording.seal("exited", 0)
    verdict = verify_file(recording.path, [KEY.verify_key])
    assert verdict.is_intact and verdict.seal is not None
    assert verdict.seal.session.ending == "recording failed"
    assert recorded(recording.path, acknowledged) == acknowledged
    assert [row.ending for row in await store.index.list()] == ["recording failed"]
    await store.close()


@pytest.mark.parametrize(
    "how", ["when another session has ended", "on closing", "on recovery", "at the next start"]
)
async def test_a_recording_that_could_not_be_sealed_is_sealed_later(small_disk: Path, how: str) -> None:
    folder = small_disk / "recordings"
    store = await Store.open(folder, key=KEY, min_free_bytes=0)
    recording = await store.begin(header())
    acknowledged = await fill(recording)
    (folder / "2026").rename(small_disk / "away")
    with pytest.raises(RecordingFailed):
        await recording.seal("exited", 0)
    (small_disk / "away").rename(folder / "2026")
    (small_disk / "ballast").unlink()
    assert verify_file(recording.path, [KEY.verify_key]).state == "unsealed"
    assert store.live == ()

    if how == "at the next start":
        # A server that is stopped tries again itself, so this one dies; what it knew of the ending dies with it.
        os.close(store._lock)
        await store.index.close()
        (folder / FILE).unlink()
        store = await Store.open(folder, key=KEY, min_free_bytes=0)
    if how == "when another session has ended":
        other = await store.begin(header())
        await other.seal("exited", 0)
        while recording.id not in SealLog(folder, is_durable=False).known():
            await asyncio.sleep(0.01)
    if how.startswith(("on recovery", "at")):
        assert [row.id for row in await store.recover()] == [recording.id]
    await store.close()
    verdict = verify_file(recording.path, [KEY.verify_key])
    assert verdict.is_intact and verdict.seal is not None
    assert verdict.seal.session.ending == (
        "interrupted" if how == "at the next start" else "recording failed"
    )
    assert recorded(recording.path, acknowledged) == acknowledged


async def test_no_recording_begins_on_a_full_disk(small_disk: Path) -> None:
    store = await Store.open(small_disk / "recordings", key=KEY, min_free_bytes=0)
    with contextlib.suppress(OSError):
        (small_disk / "brim").write_bytes(bytes(1 << 20))
    with pytest.raises(RecordingFailed, match="full"):
        await store.begin(header())
    assert store.live == ()
    assert list((small_disk / "recordings").rglob("*.cast")) == []
    await store.close()


async def test_the_floor_keeps_new_sessions_from_filling_the_disk(small_disk: Path) -> None:
    store = await Store.open(small_disk / "recordings", key=KEY, min_free_bytes=800_000)
    with pytest.raises(RecordingFailed, match="nearly full"):
        await store.begin(header())
    (small_disk / "ballast").unlink()
    recording = await store.begin(header())
    await recording.append([Output(b"x")])
    await recording.seal("exited", 0)
    await store.close()
