"""`append` returns when the bytes are in the file, fails for good when they cannot be, and blocks nobody else."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder import journal
from recorder.catalog import read_row
from recorder.chain import TAGS_PER_LINE
from recorder.errors import RecordingFailed
from recorder.events import Event, Input, Noted, Output
from recorder.header import Opening
from recorder.journal import Clock, Recording
from recorder.lines import LINE_LIMIT, decode_line
from recorder.names import place
from recorder.reader import open_recording
from recorder.statements import Account
from recorder.store import Store
from recorder.verify import verify_file
from recorder.writer import SMALL, Durability, OpenFile, Writer
from tests.recorder.casts import ID, KEY, STARTED, header


def recorded(path: Path) -> bytes:
    """The output in the file as it stands now."""
    with open_recording(path) as recording:
        return b"".join(entry.event.data for entry in recording if isinstance(entry.event, Output))


def codes(path: Path) -> str:
    return "".join(decode_line(0, line).code for line in path.read_bytes().splitlines(keepends=True)[1:])


class Ended:
    """Stands for the store: keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Account | None]] = []

    async def __call__(self, recording: Recording, ending: str, account: Account | None) -> None:
        self.calls.append((ending, account))


async def begin_with(writer: Writer, folder: Path, ended: Ended) -> Recording:
    """A recording in *folder* that is written by *writer*, faulty or not."""
    path = folder / place(ID)
    path.parent.mkdir(parents=True)
    recording = Recording(
        opening=Opening(id=ID, key_id=KEY.id, header=header()),
        path=path,
        file=OpenFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)),
        writer=writer,
        key=KEY,
        clock=Clock(lambda: 0.0),
        now=lambda: STARTED,
        ended=ended,
    )
    await recording.open()
    return recording


async def test_what_was_appended_is_in_the_file_when_append_returns(store: Store) -> None:
    recording = await store.begin(header())
    sent = b""
    for chunk in (b"a", "é".encode()[:1], "é".encode()[1:], b"\xff" * 1000, b"x" * 300_000):
        await recording.append([Output(chunk)])
        sent += chunk
        assert recorded(recording.path) == sent


async def test_appends_of_both_directions_are_written_in_the_order_of_the_calls(store: Store) -> None:
    recording = await store.begin(header())
    await asyncio.gather(*(recording.append([Input(b"%d," % n)]) for n in range(200)))
    with open_recording(recording.path) as entries:
        assert [entry.event for entry in entries] == [Input(b"%d," % n) for n in range(200)]


async def test_nothing_is_written_for_nothing(store: Store) -> None:
    recording = await store.begin(header())
    size = recording.path.stat().st_size
    await recording.append([])
    await recording.append([Output(b"")])
    assert recording.path.stat().st_size == size


async def test_what_a_cancelled_task_appended_is_written_all_the_same(store: Store) -> None:
    recording = await store.begin(header())
    task = asyncio.get_running_loop().create_task(recording.append([Output(b"one")]))
    await asyncio.sleep(0)
    task.cancel()
    await recording.append([Output(b"two")])
    assert recorded(recording.path) == b"onetwo"
    await recording.seal("exited", 0)
    assert verify_file(recording.path, [KEY.verify_key]).is_intact


async def test_a_sealed_recording_takes_nothing_more(store: Store) -> None:
    recording = await store.begin(header())
    await recording.seal("exited", 0)
    with pytest.raises(RecordingFailed, match="closed"):
        await recording.append([Output(b"late")])
    assert recorded(recording.path) == b""


async def test_a_checkpoint_is_written_after_so_many_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "CHECKPOINT_BYTES", 10_000)
    recording = await store.begin(header())
    for _ in range(20):
        await recording.append([Output(b"x" * 1000)])
    assert codes(recording.path) == "hk" + ("o" * 10 + "hk") * 2


async def test_what_stands_unsigned_is_signed_though_the_session_falls_silent(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "CHECKPOINT_SECONDS", 0.001)
    recording = await store.begin(header())
    await recording.append([Output(b"x")])
    async with asyncio.timeout(20):
        while codes(recording.path).count("k") < 2:
            await asyncio.sleep(0.001)
    verdict = verify_file(recording.path, [KEY.verify_key])
    assert (verdict.state, verdict.signed_lines) == ("unsealed", verdict.lines - 1)


async def test_a_tag_line_never_holds_more_than_a_few_tags_and_parts_no_pair(store: Store) -> None:
    recording = await store.begin(header())
    await recording.append([event for _ in range(500) for event in (Output(b"\xff"), Input(b"a"))])
    await recording.seal("exited", 0)
    lines = recording.path.read_bytes().splitlines(keepends=True)[1:]
    assert max(len(line) for line in lines if b'"h"' in line) < TAGS_PER_LINE * 5
    assert "bh" not in codes(recording.path)
    assert verify_file(recording.path, [KEY.verify_key]).is_intact


async def test_times_never_run_backwards_whatever_the_clock_does(folder: Path) -> None:
    ticks = iter([5.0, 5.0, 5.5, 5.2, 5.2, 6.0000004, 6.1, 6.2])
    store = await Store.open(folder, key=KEY, monotonic=lambda: next(ticks))
    recording = await store.begin(header())
    for n in range(4):
        await recording.append([Output(b"%d" % n)])
    with open_recording(recording.path) as entries:
        assert [entry.time for entry in entries] == [0.5, 0.5, 0.5, 1.0]
    await store.close()


async def test_a_note_that_is_too_long_ends_the_recording_and_is_said(store: Store) -> None:
    recording = await store.begin(header())
    await recording.append([Output(b"seen")])
    with pytest.raises(RecordingFailed, match="too long"):
        await recording.append([Noted("x" * LINE_LIMIT)])
    with pytest.raises(RecordingFailed, match="too long"):
        await recording.append([Output(b"more")])
    with pytest.raises(RecordingFailed, match="too long"):
        await recording.seal("exited", 0)
    verdict = verify_file(recording.path, [KEY.verify_key])
    assert verdict.is_intact and verdict.seal is not None
    assert verdict.seal.session.ending == "recording failed"
    assert recorded(recording.path) == b"seen"


async def test_short_writes_are_finished(tmp_path: Path) -> None:
    writer = Writer("kernel", write=lambda descriptor, data: os.write(descriptor, data[:7]))
    recording = await begin_with(writer, tmp_path, Ended())
    await recording.append([Output(b"x" * 5000)])
    assert recorded(recording.path) == b"x" * 5000
    await recording.seal("exited", 0)
    assert verify_file(recording.path, [KEY.verify_key]).is_intact
    await writer.close()


async def until_it_fails(recording: Recording) -> bytes:
    """Append until that fails; what had been taken by then."""
    taken = b""
    try:
        while True:
            await recording.append([Output(b"0123456789" * 10)])
            taken += b"0123456789" * 10
    except RecordingFailed:
        return taken


def failing(after: int, error: int) -> tuple[Callable[[int, memoryview], int], list[int]]:
    """A write that takes *after* bytes in all, as a disk does that fills up or breaks, until it is mended."""
    left = [after]

    def write(descriptor: int, data: memoryview) -> int:
        if left[0] <= 0:
            raise OSError(error, os.strerror(error))
        written = os.write(descriptor, data[: left[0]])
        left[0] -= written
        return written

    return write, left


@pytest.mark.parametrize(
    ("error", "words"), [(errno.ENOSPC, "disk for recordings is full"), (errno.EIO, "cannot be written")]
)
async def test_a_failure_is_final_and_the_file_is_repaired_and_sealed(
    tmp_path: Path, error: int, words: str
) -> None:
    write, _ = failing(3000, error)
    writer, ended = Writer("kernel", write=write), Ended()
    recording = await begin_with(writer, tmp_path, ended)
    acknowledged = await until_it_fails(recording)
    with pytest.raises(RecordingFailed, match=words):
        await recording.append([Output(b"more")])
    with pytest.raises(RecordingFailed, match=words):
        await recording.seal("exited", 0)
    assert [ending for ending, _ in ended.calls] == ["recording failed"]
    verdict = verify_file(recording.path, [KEY.verify_key])
    assert verdict.is_intact and verdict.seal is not None
    assert verdict.seal.session.ending == "recording failed"
    assert verdict.seal.session.recovery is not None and verdict.seal.session.recovery.cut > 0
    assert recorded(recording.path) == acknowledged
    assert read_row(tmp_path, recording.path).ending == "recording failed"
    await writer.close()


async def test_a_sync_that_fails_is_a_failure(tmp_path: Path) -> None:
    broken = threading.Event()

    def sync(descriptor: int) -> None:
        if broken.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fdatasync(descriptor)

    writer = Writer("disk", sync=sync)
    recording = await begin_with(writer, tmp_path, Ended())
    await recording.append([Output(b"safe")])
    broken.set()
    for _ in range(2):
        with pytest.raises(RecordingFailed, match="cannot be written"):
            await recording.append([Output(b"not safe")])
    await writer.close()


@pytest.mark.parametrize("durability", ["kernel", "disk"])
async def test_one_file_that_fails_is_no_trouble_for_the_others(
    tmp_path: Path, durability: Durability
) -> None:
    """Both go through one thread, and through one round of it."""
    full = os.open("/dev/full", os.O_WRONLY)
    good = os.open(tmp_path / "good", os.O_WRONLY | os.O_CREAT)
    writer = Writer(durability)
    bad_file, good_file = OpenFile(full), OpenFile(good)
    results = await asyncio.gather(
        *(writer.submit(file, b"x") for file in (good_file, bad_file) * 10), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), OSError] * 10
    assert (tmp_path / "good").read_bytes() == b"x" * 10
    os.close(full)
    os.close(good)
    await writer.close()


async def test_sessions_share_a_sync_and_none_returns_before_it(tmp_path: Path) -> None:
    """With durability "disk": while one sync runs the others gather, and the next one serves all of them."""
    release, syncs = threading.Semaphore(0), []

    def sync(descriptor: int) -> None:
        release.acquire()
        syncs.append(descriptor)
        os.fdatasync(descriptor)

    writer = Writer("disk", sync=sync)
    file = OpenFile(os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT))
    first = writer.submit(file, b"1")
    while not (tmp_path / "a").stat().st_size:  # the first round has written, and now waits in its sync
        await asyncio.sleep(0)
    rest = [writer.submit(file, b"%d" % n) for n in range(2, 10)]
    await asyncio.sleep(0)
    assert not any(future.done() for future in (first, *rest))
    release.release()
    await first
    assert not any(future.done() for future in rest)
    release.release()
    await asyncio.gather(*rest)
    assert len(syncs) == 2
    assert (tmp_path / "a").read_bytes() == b"123456789"
    os.close(file.descriptor)
    await writer.close()


async def test_files_of_several_sessions_are_synced_at_the_same_time(tmp_path: Path) -> None:
    gate, together = threading.Event(), threading.Barrier(3)

    def sync(descriptor: int) -> None:
        if descriptor == first.descriptor:
            gate.wait()
        else:
            together.wait(timeout=10)

    writer = Writer("disk", sync=sync)
    first, *others = [OpenFile(os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT)) for name in "abcd"]
    alone = writer.submit(first, b"1")
    while not (tmp_path / "a").stat().st_size:
        await asyncio.sleep(0)
    rest = [writer.submit(file, b"2") for file in others]
    gate.set()
    await asyncio.gather(alone, *rest)
    for file in (first, *others):
        os.close(file.descriptor)
    await writer.close()


async def test_what_is_written_in_one_turn_of_the_loop_keeps_its_order(tmp_path: Path) -> None:
    """Only the first write of a turn is waited for: later ones go together, unless a long one goes before."""
    writer = Writer("kernel")
    file, path = OpenFile(os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)), tmp_path / "a"
    pieces = [b"1", b"2", b"3", b"4" * (SMALL + 1), b"5", b"6"]
    for done in [writer.submit(file, piece) for piece in pieces]:
        await done
    assert path.read_bytes() == b"".join(pieces)
    for piece in (b"7", b"8"):
        writer.submit(file, piece)
    writer.submit(file, b"9", is_last=True)
    await writer.close()
    assert path.read_bytes() == b"".join(pieces) + b"789"


async def test_what_waits_for_the_next_turn_is_written_when_the_writer_closes(tmp_path: Path) -> None:
    writer = Writer("kernel")
    files = [OpenFile(os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT)) for name in "abc"]
    for file in files:
        writer.submit(file, b"1")
    await writer.close()
    assert [(tmp_path / name).read_bytes() for name in "abc"] == [b"1"] * 3
    for file in files:
        os.close(file.descriptor)


async def test_a_stalled_disk_does_not_stall_the_event_loop(tmp_path: Path) -> None:
    stalled = threading.Event()

    def write(descriptor: int, data: memoryview) -> int:
        stalled.wait()
        return os.write(descriptor, data)

    stalled.set()
    writer = Writer("kernel", write=write)
    recording = await begin_with(writer, tmp_path, Ended())
    stalled.clear()
    events: list[Event] = [Output(b"x")]
    task = asyncio.get_running_loop().create_task(recording.append(events))
    for _ in range(100):
        await asyncio.sleep(0)  # the loop goes round while the disk does not
    assert not task.done()
    stalled.set()
    await task
    await writer.close()
