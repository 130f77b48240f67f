"""Torn tails are repaired without losing a whole event, and what was tampered with is not sealed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from recorder.errors import FormatError
from recorder.events import ErrorOutput, Event, Exited, Input, Output, Resized
from recorder.lines import decode_line
from recorder.names import place
from recorder.reader import open_recording
from recorder.recovery import seal_unsealed
from recorder.store import Store
from recorder.verify import verify_file
from tests.recorder.casts import ID, KEY, OTHER_KEY, STARTED, cast, header, streams

BATCHES: list[list[Event]] = [
    [Output(b"before\r\n")],
    [Output(b"cut \xe2\x82")],
    [Output(b"\xac"), ErrorOutput(b"err"), Resized(0, 0, 1, 1), Input(b"\xff")],
]
UNSEALED = cast(BATCHES, is_sealed=False)
WHOLE = b"".join(UNSEALED)


def events_of(path: Path) -> list[Event]:
    with open_recording(path) as recording:
        return [entry.event for entry in recording]


def torn_facts(path: Path) -> list[str]:
    lines = [decode_line(0, line) for line in path.read_bytes().splitlines(keepends=True)[1:]]
    return [
        fact["bytes"]
        for line in lines
        if line.code == "f" and (fact := json.loads(line.data))["is"] == "torn"
    ]


@pytest.mark.parametrize("end", range(len(b"".join(UNSEALED[:3])), len(WHOLE) + 1))
def test_a_file_torn_at_any_byte_keeps_all_that_is_whole(tmp_path: Path, end: int) -> None:
    path = tmp_path / "a.cast"
    path.write_bytes(WHOLE[:end])
    kept = events_of(path)
    account = seal_unsealed(path, key=KEY, trusted=(), ending="interrupted")
    assert events_of(path) == kept
    assert streams(kept)[0] == b"".join(event.data for event in kept if isinstance(event, Output))
    verdict = verify_file(path, [KEY.verify_key])
    assert verdict.is_intact and verdict.seal is not None
    assert verdict.seal.session == account
    assert account.recovery is not None
    assert path.read_bytes().startswith(WHOLE[: end - account.recovery.cut])
    assert len(torn_facts(path)) == (account.recovery.cut > 0)
    assert (account.output_bytes, account.error_bytes, account.input_bytes) == tuple(map(len, streams(kept)))


def test_events_torn_off_are_only_those_whose_last_byte_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    lengths = []
    for end in range(len(b"".join(UNSEALED[:3])), len(WHOLE) + 1):
        path.write_bytes(WHOLE[:end])
        lengths.append(len(events_of(path)))
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (0, len(events_of(path)))


def test_a_seal_by_recovery_says_what_was_signed_while_the_session_ran(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    path.write_bytes(WHOLE)
    account = seal_unsealed(path, key=KEY, trusted=(), ending="interrupted")
    assert account.recovery is not None and (account.recovery.signed_lines, account.recovery.cut) == (2, 0)
    assert "lines 1 to 2 were signed while the session ran" in verify_file(path, [KEY.verify_key]).reason
    assert (account.duration, account.ended_at) == (0.3, STARTED + 0.3)


def test_the_exit_status_is_kept_when_only_the_seal_was_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    path.write_bytes(b"".join(cast([[Exited(7)]], is_sealed=False)))
    assert seal_unsealed(path, key=KEY, trusted=(), ending="interrupted").exit_status == 7


def test_a_recording_begun_under_a_retired_key_is_sealed_with_the_new_one(tmp_path: Path) -> None:
    for trusted, signed in (((OTHER_KEY.verify_key,), 2), ((), 0)):
        path = tmp_path / f"{signed}.cast"
        path.write_bytes(b"".join(cast(BATCHES, key=OTHER_KEY, is_sealed=False)))
        account = seal_unsealed(path, key=KEY, trusted=trusted, ending="interrupted")
        assert account.recovery is not None and account.recovery.signed_lines == signed
        assert verify_file(path, [KEY.verify_key, OTHER_KEY.verify_key]).is_intact
        assert verify_file(path, [KEY.verify_key]).state == "unknown key"


def test_what_was_changed_after_the_crash_is_not_sealed(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    lines = cast([[Output(b"x")]] * 100, is_sealed=False)
    lines[9] = lines[9].replace(b'"x"', b'"y"')
    path.write_bytes(b"".join(lines))
    with pytest.raises(FormatError, match="line 10"):
        seal_unsealed(path, key=KEY, trusted=(), ending="interrupted")
    assert path.read_bytes() == b"".join(lines)


def test_a_sealed_recording_is_not_sealed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.cast"
    path.write_bytes(b"".join(cast(BATCHES)))
    with pytest.raises(FormatError, match="sealed already"):
        seal_unsealed(path, key=KEY, trusted=(), ending="interrupted")


async def test_recovery_seals_what_it_finds_and_enters_what_the_index_lacks(folder: Path) -> None:
    unsealed, sealed = folder / place(ID), folder / "2026/11/24/261124-0000000.cast"
    unsealed.parent.mkdir(parents=True)
    folder.chmod(0o700)
    store = await Store.open(folder, key=KEY)
    unsealed.write_bytes(WHOLE)
    sealed.write_bytes(b"".join(cast(BATCHES)).replace(ID.encode(), b"261124-0000000"))
    recovered = await store.recover()
    assert [(row.id, row.ending, row.path) for row in recovered] == [(ID, "interrupted", unsealed)]
    assert {(row.id, row.ending) for row in await store.index.list()} == {
        (ID, "interrupted"),
        ("261124-0000000", "exited"),
    }
    await store.close()


async def test_recovery_leaves_running_recordings_alone(store: Store) -> None:
    recording = await store.begin(header())
    await recording.append([Output(b"x")])
    assert await store.recover() == []
    await recording.append([Output(b"y")])
    await recording.seal("exited", 0)
    assert verify_file(recording.path, [KEY.verify_key]).is_intact


async def test_a_damaged_recording_is_reported_and_stands_as_it_is(folder: Path) -> None:
    path = folder / place(ID)
    path.parent.mkdir(parents=True)
    folder.chmod(0o700)
    damaged = b"".join(UNSEALED[:4]) + b"rubbish\n" + UNSEALED[4]
    path.write_bytes(damaged)
    (path.parent / "261124-0000001.cast").write_bytes(b"")  # the server died before it wrote the header
    store = await Store.open(folder, key=KEY)
    with structlog.testing.capture_logs() as logs:
        assert await store.recover() == []
    assert [entry["event"] for entry in logs] == ["recording.damaged"] * 2
    assert path.read_bytes() == damaged
    await store.close()
