"""`kill -9` at any instant: what was acknowledged is in the file, the next start seals it, nothing is made up.

RECORDER_KILLS sets how often the writing process is killed (40 by default).
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.catalog import is_live, read_row, recordings
from recorder.errors import FormatError
from recorder.reader import open_recording
from recorder.store import Store
from recorder.verify import verify_file
from tests.recorder.casts import KEY, streams
from tests.recorder.crashing_writer import FRAME, KINDS, events, record_until_killed

KILLS = int(os.environ.get("RECORDER_KILLS", "40"))
SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["tests.recorder.crashing_writer"])


def kill_after(folder: Path, read: int) -> list[list[bytes]]:
    """Let a process record into *folder*, kill it once it acknowledged *read* bytes; what it acknowledged in all."""
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=record_until_killed, args=(folder, theirs), daemon=True)
    process.start()
    theirs.close()
    got = bytearray()
    while len(got) < read:
        more = os.read(ours.fileno(), min(65536, read - len(got)))
        assert more, "the process ended by itself"
        got += more
    process.kill()
    process.join()
    while more := os.read(ours.fileno(), 65536):  # acknowledged before it died, and still in the pipe
        got += more
    ours.close()
    return unpack(bytes(got))


def unpack(frames: bytes) -> list[list[bytes]]:
    """The acknowledged bytes by recording and stream; the last frame may be a part."""
    got = [[b"", b"", b""], [b"", b"", b""]]
    at = 0
    while len(frames) - at > FRAME.size:
        number, kind, size = FRAME.unpack_from(frames, at)
        got[number][kind] += frames[at + FRAME.size : at + FRAME.size + size]
        at += FRAME.size + size
    return got


def expected(number: int, size: int) -> list[bytes]:
    """At least the first *size* bytes of each stream that the process sends on recording *number*."""
    whole = [bytearray(), bytearray(), bytearray()]
    for event in events(number):
        whole[KINDS.index(type(event))] += event.data  # type: ignore[union-attr]
        if min(map(len, whole)) >= size:
            break
    return [bytes(stream) for stream in whole]


def kill_points() -> Iterator[int]:
    source = random.Random(2)
    yield from (1, 8, 20)
    while True:
        yield int(2 ** source.uniform(0, 21))


@pytest.mark.parametrize("read", list(itertools.islice(kill_points(), KILLS)))
async def test_nothing_acknowledged_is_missing_after_a_kill(tmp_path: Path, read: int) -> None:
    folder = tmp_path / "recordings"
    acknowledged = kill_after(folder, read)
    found = {path: read_row(folder, path) for path in recordings(folder) if has_header(path)}
    assert {row.ending for row in found.values()} <= {"live"}
    assert not any(is_live(path) for path in found)

    store = await Store.open(folder, key=KEY)
    recovered = await store.recover()
    assert {row.path for row in recovered} == set(found)
    assert {row.ending for row in recovered} == {"interrupted"}
    for row in recovered:
        verdict = verify_file(row.path, [KEY.verify_key])
        assert verdict.is_intact
        with open_recording(row.path) as recording:
            got = streams([entry.event for entry in recording])
        number = 1 if recording.header.terminal else 0
        for kept, seen, sent in zip(
            got, acknowledged[number], expected(number, max(map(len, got))), strict=True
        ):
            assert kept.startswith(seen)
            assert sent.startswith(kept)
        assert (row.output_bytes, row.input_bytes) == (len(got[0]) + len(got[1]), len(got[2]))
    assert len(recovered) >= sum(any(parts) for parts in acknowledged)
    assert await store.recover() == []
    await store.close()


def has_header(path: Path) -> bool:
    """Whether the process lived to write the header; a session only starts after that."""
    try:
        with open_recording(path):
            return True
    except FormatError:
        return False
