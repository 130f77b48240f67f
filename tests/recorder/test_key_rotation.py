"""Replacing the recorder's key: what was signed before still verifies, and no step of it can be lost."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from recorder import key_rotation
from recorder.catalog import recordings
from recorder.errors import RecorderKeyError
from recorder.events import Output
from recorder.header import Header
from recorder.inspection import inspect
from recorder.key_rotation import OVERLAP, rotate
from recorder.keys import SigningKey, VerifyKey, by_id, public_path, published_keys
from recorder.seals_check import hold_against, read_chain
from recorder.store import Store
from recorder.verify import verify_file
from tests.recorder.casts import STARTED


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    SigningKey.create(tmp_path / "recorder-key")
    return tmp_path / "recorder-key"


def test_the_new_key_signs_and_both_are_published(key_file: Path) -> None:
    old = SigningKey.load(key_file)
    done = rotate(key_file)
    new = SigningKey.load(key_file)
    assert (done.old.id, done.new.id) == (old.id, new.id)
    assert new.id != old.id
    assert VerifyKey.load(public_path(key_file)).id == new.id
    assert {key.id for key in published_keys(key_file)} == {old.id, new.id}
    assert sorted(path.name for path in key_file.parent.iterdir()) == sorted(
        ["recorder-key", "recorder-key.pub", f"recorder-key-{old.id}.pub", f"recorder-key-{new.id}.pub"]
    )
    assert {path.stat().st_mode & 0o777 for path in key_file.parent.glob("*.pub")} == {0o644}
    assert key_file.stat().st_mode & 0o777 == 0o600


def test_many_rotations_keep_all_public_keys(key_file: Path) -> None:
    ids = {rotate(key_file).old.id for _ in range(3)} | {SigningKey.load(key_file).id}
    assert {key.id for key in published_keys(key_file)} == ids
    assert len(ids) == 4


@pytest.mark.parametrize("step", range(5))
def test_a_crash_at_any_step_leaves_a_key_that_is_published(
    key_file: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before the rename of *step*; the next rotation goes through."""
    old = SigningKey.load(key_file)
    steps = 0
    replace = Path.replace

    def dies(self: Path, target: Path) -> Path:
        nonlocal steps
        steps += 1
        if steps > step:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        rotate(key_file)
    monkeypatch.undo()
    present = SigningKey.load(key_file)
    published = {key.id for key in published_keys(key_file)}
    assert {present.id, old.id} <= published
    done = rotate(key_file)
    assert {present.id, old.id, done.new.id} <= {key.id for key in published_keys(key_file)}
    assert not list(key_file.parent.glob(".*"))
    undated = {key.id for key in published_keys(key_file) if key.retired_at is None}
    assert undated == {done.new.id}


def test_a_key_that_others_can_read_is_not_replaced_unseen(key_file: Path) -> None:
    key_file.chmod(0o644)
    with pytest.raises(RecorderKeyError, match="can be read by others"):
        rotate(key_file)


def test_without_a_key_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecorderKeyError, match="cannot be read"):
        rotate(tmp_path / "recorder-key")
    with pytest.raises(RecorderKeyError, match="cannot be replaced"):
        rotate(tmp_path / "nowhere" / "recorder-key")


async def test_recordings_before_during_and_after_a_rotation_verify(key_file: Path, folder: Path) -> None:
    """One is sealed before, one runs meanwhile, one begins after, one is left to recovery."""
    store = await Store.open(folder, key=SigningKey.load(key_file), is_searchable=False)
    header = Header(started_at=STARTED, columns=80, rows=24, terminal="xterm")
    try:
        before = await store.begin(header)
        await before.seal("exited", 0)
        running = await store.begin(header)
        await running.append([Output(b"under the old key\r\n")])
        done = rotate(key_file)
        store.use_key(SigningKey.load(key_file), published_keys(key_file))
        assert store.key_id == done.new.id
        await running.append([Output(b"on, and under the new one\r\n")])
        await running.seal("exited", 0)
        after = await store.begin(header)
        await after.seal("exited", 0)
    finally:
        await store.close()
    lines = running.path.read_bytes().splitlines(keepends=True)
    running.path.write_bytes(b"".join(lines[:-1]))
    (folder / "seals.log").unlink()
    (folder / "index.db").unlink()
    store = await Store.open(
        folder, key=SigningKey.load(key_file), trusted=published_keys(key_file), is_searchable=False
    )
    try:
        (recovered,) = await store.recover()
        assert recovered.id == running.id
    finally:
        await store.close()
    keys = published_keys(key_file)
    findings = [inspect(path, keys) for path in recordings(folder)]
    assert len(findings) == 3
    assert [
        one.reason for one in hold_against(read_chain(folder, keys), folder, findings) if not one.is_good
    ] == []
    ids = {one.name: one.verdict.key_id for one in findings if one.verdict}
    assert (ids[before.id], ids[running.id], ids[after.id]) == (done.old.id, done.old.id, done.new.id)


def test_the_replaced_key_gets_a_date_and_the_present_one_has_none(key_file: Path) -> None:
    first, second = rotate(key_file, now=lambda: STARTED), rotate(key_file, now=lambda: STARTED + 9000)
    dates = {key.id: key.retired_at for key in published_keys(key_file)}
    assert dates == {
        first.old.id: int(STARTED + OVERLAP),
        first.new.id: int(STARTED + 9000 + OVERLAP),
        second.new.id: None,
    }
    assert first.old.retired_at == int(STARTED + OVERLAP)


def test_the_date_stands_above_the_key_and_other_programs_read_the_file(key_file: Path) -> None:
    old = rotate(key_file, now=lambda: STARTED).old
    file = key_file.with_name(f"recorder-key-{old.id}.pub")
    assert file.read_bytes().startswith(b"Retired: 2")
    assert isinstance(serialization.load_pem_public_key(file.read_bytes()), Ed25519PublicKey)
    command = ["openssl", "pkey", "-pubin", "-in", str(file), "-noout", "-text"]
    assert b"ED25519" in subprocess.run(command, capture_output=True, check=True).stdout
    file.write_bytes(file.read_bytes().replace(b"Retired: 2", b"Retired: next "))
    with pytest.raises(RecorderKeyError, match=r"date in .* cannot be read"):
        VerifyKey.load(file)


def test_of_a_key_given_with_and_without_its_date_the_date_counts() -> None:
    key = SigningKey.generate().verify_key
    for keys in ([key, key.retired(5.0), key.retired(9.0)], [key.retired(9.0), key.retired(5.0), key]):
        assert by_id(keys)[key.id].retired_at == 5.0


async def test_a_thief_of_the_old_key_writes_no_recording_that_verifies(key_file: Path, folder: Path) -> None:
    """Neither one that begins after the date, nor one that goes on after it, nor one that he dates back."""
    stolen = SigningKey.load(key_file)
    rotate(key_file, now=lambda: STARTED)
    keys = published_keys(key_file)
    thief = await Store.open(folder, key=stolen, is_searchable=False, now=lambda: STARTED + OVERLAP + 2)
    header = Header(started_at=STARTED, columns=80, rows=24, terminal="xterm")
    try:
        later = await thief.begin(replace(header, started_at=STARTED + OVERLAP + 1))
        await later.seal("exited", 0)
        back = await thief.begin(header)
        await back.append([Output(b"never happened\r\n")])
        await back.seal("exited", 0)
    finally:
        await thief.close()
    verdict = verify_file(later.path, keys)
    assert (verdict.state, verdict.first) == ("changed", 1)
    assert verdict.reason == f"line 3 is signed with key {stolen.id} after it was retired"
    assert verify_file(later.path, [stolen.verify_key]).state == "sealed"
    # The file alone cannot tell that it was dated back; the chain of seals can, and the server takes it into none.
    assert verify_file(back.path, keys).state == "sealed"
    findings = [inspect(path, keys) for path in recordings(folder)]
    assert any(
        "after it was retired" in one.reason
        for one in hold_against(read_chain(folder, keys), folder, findings)
    )
    (folder / "seals.log").unlink()
    store = await Store.open(
        folder,
        key=SigningKey.load(key_file),
        trusted=keys,
        is_searchable=False,
        now=lambda: STARTED + OVERLAP + 3,
    )
    try:
        await store.recover()
        real = await store.begin(replace(header, started_at=STARTED + OVERLAP + 3))
        await real.seal("exited", 0)
    finally:
        await store.close()
    findings = [inspect(path, keys) for path in recordings(folder)]
    states = {one.name: one.state for one in hold_against(read_chain(folder, keys), folder, findings)}
    assert states == {later.id: "changed", back.id: "not in the chain", real.id: "sealed"}


async def test_a_session_that_runs_over_the_date_verifies(key_file: Path, folder: Path) -> None:
    """What runs during a rotation signs with the new key from then on."""
    clock = [STARTED]
    store = await Store.open(
        folder,
        key=SigningKey.load(key_file),
        is_searchable=False,
        now=lambda: clock[0],
        monotonic=lambda: clock[0],
    )
    try:
        running = await store.begin(Header(started_at=STARTED, columns=80, rows=24, terminal="xterm"))
        rotate(key_file, now=lambda: STARTED)
        store.use_key(SigningKey.load(key_file), published_keys(key_file))
        clock[0] += 10 * OVERLAP
        await running.append([Output(b"late\r\n")])
        await running.seal("exited", 0)
    finally:
        await store.close()
    assert verify_file(running.path, published_keys(key_file)).state == "sealed"


def test_two_rotations_at_once_do_not_meet(key_file: Path) -> None:
    """The folder is locked; each replaces what the other left."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        done = [one.result() for one in [pool.submit(key_rotation.rotate, key_file) for _ in range(4)]]
    assert len({one.new.id for one in done} | {one.old.id for one in done}) == 5
    assert {key.id for key in published_keys(key_file)} == {one.new.id for one in done} | {
        one.old.id for one in done
    }
