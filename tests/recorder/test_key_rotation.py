"""Replacing the recorder's key: what was signed before still verifies, and no step of it can be lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder import key_rotation
from recorder.catalog import recordings
from recorder.errors import RecorderKeyError
from recorder.events import Output
from recorder.header import Header
from recorder.inspection import inspect
from recorder.key_rotation import rotate
from recorder.keys import SigningKey, VerifyKey, public_path, published_keys
from recorder.seals_check import hold_against, read_chain
from recorder.store import Store
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


@pytest.mark.parametrize("step", range(4))
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
        await running.append([Output(b"still the old one\r\n")])
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


def test_two_rotations_at_once_do_not_meet(key_file: Path) -> None:
    """The folder is locked; each replaces what the other left."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        done = [one.result() for one in [pool.submit(key_rotation.rotate, key_file) for _ in range(4)]]
    assert len({one.new.id for one in done} | {one.old.id for one in done}) == 5
    assert {key.id for key in published_keys(key_file)} == {one.new.id for one in done} | {
        one.old.id for one in done
    }
