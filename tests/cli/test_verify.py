from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recorder.keys import SigningKey, public_path
from tests.cli.bastion_command import Command
from tests.cli.recorded import Recorded, record


@pytest.fixture
def recorded(run: Command) -> Recorded:
    return record(run.config)


def change(file: Path) -> None:
    content = file.read_bytes()
    assert b"hello" in content
    file.write_bytes(content.replace(b"hello", b"hullo"))


def test_an_unchanged_recording_is_said_to_be_so(run: Command, recorded: Recorded) -> None:
    done = run("verify", recorded.ada)
    assert done.status == 0
    assert f"{recorded.ada}  sealed: all" in done.out


def test_a_changed_recording_is_named_with_its_line_and_fails(run: Command, recorded: Recorded) -> None:
    change(recorded.ada_file)
    done = run("verify", recorded.ada, recorded.bob)
    assert done.status == 1
    assert f"{recorded.ada}  CHANGED" in done.out
    assert f"{recorded.bob}  sealed" in done.out
    row = run("verify", "--json", recorded.ada).json[0]
    assert (row["good"], row["state"]) == (False, "changed")
    assert row["first_changed_line"] is not None


def test_a_file_and_a_key_are_enough(run: Command, recorded: Recorded, tmp_path: Path) -> None:
    """An auditor has neither server nor configuration."""
    file, key = tmp_path / "taken.cast", tmp_path / "taken.pub"
    shutil.copy(recorded.ada_file, file)
    shutil.copy(public_path(run.config.recorder_key_file), key)
    run.file.unlink()
    assert run("verify", str(file), "--key", str(key)).status == 0


def test_another_key_proves_nothing(run: Command, recorded: Recorded, tmp_path: Path) -> None:
    SigningKey.create(tmp_path / "other")
    done = run("verify", recorded.ada, "--key", str(tmp_path / "other.pub"))
    assert done.status == 1
    assert "UNKNOWN KEY" in done.out


def test_all_of_them_are_verified(run: Command, recorded: Recorded) -> None:
    done = run("verify", "--all")
    assert (done.status, done.out) == (0, "2 recordings: 2 unchanged, 0 not\n")
    change(recorded.ada_file)
    done = run("verify", "--all")
    assert done.status == 1
    assert recorded.ada in done.out and recorded.bob not in done.out


def test_a_recording_that_was_deleted_is_missed(run: Command, recorded: Recorded) -> None:
    recorded.ada_file.unlink()
    done = run("verify", "--all")
    assert done.status == 1
    assert f"{recorded.ada}  MISSING" in done.out


def test_a_recording_under_the_name_of_another_is_found_out(run: Command, recorded: Recorded) -> None:
    (bob,) = run.config.recordings_folder.rglob(f"{recorded.bob}.cast")
    shutil.copy(bob, recorded.ada_file)
    done = run("verify", "--all")
    assert done.status == 1
    assert f"the file is named {recorded.ada}" in done.out


@pytest.mark.parametrize("arguments", [(), ("--all", "x")])
def test_it_must_be_said_what_to_verify(run: Command, arguments: tuple[str, ...]) -> None:
    done = run("verify", *arguments)
    assert done.status == 2
    assert "--all" in done.err


def test_a_session_nobody_knows_is_explained(run: Command, recorded: Recorded) -> None:
    done = run("verify", "zzzzzzz")
    assert done.status == 66
    assert "no session" in done.err
