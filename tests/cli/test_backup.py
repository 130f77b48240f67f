"""`bastion backup`: what it copies, again and again, and where it refuses to."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from recorder.removal import only_remover
from tests.cli.bastion_command import Command
from tests.cli.recorded import record


def test_a_second_backup_copies_only_what_is_new(run: Command, tmp_path: Path) -> None:
    record(run.config)
    first = run("backup", str(tmp_path / "copy"), "--json").json
    assert (first["recordings"], first["kept"]) == (2, 0)
    record(run.config)
    second = run("backup", str(tmp_path / "copy"), "--json").json
    assert (second["recordings"], second["kept"]) == (2, 2)
    assert run("backup", str(tmp_path / "copy")).out.startswith("Copied 0 recordings, 0 bytes, with state")
    with closing(sqlite3.connect(tmp_path / "copy" / "state.db")) as state:
        assert state.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        events = state.execute("SELECT event FROM audit_events").fetchall()
    assert events.count(("backup.made",)) == 2  # the third is entered when it is done
    assert not list((tmp_path / "copy").rglob("*.new"))
    assert (tmp_path / "copy" / "config" / "bastion.toml").read_bytes() == run.file.read_bytes()
    assert not list((tmp_path / "copy").rglob("index.db"))


@pytest.mark.parametrize("name", ["letters", "data", "data/backup", "data/recordings/backup"])
def test_no_folder_that_is_something_else_is_touched(run: Command, tmp_path: Path, name: str) -> None:
    record(run.config)
    (tmp_path / "letters").mkdir(mode=0o700)
    (tmp_path / "letters" / "love.txt").write_text("dear")
    before = {file for file in tmp_path.rglob("*") if file.is_file() and not file.name.startswith("state.db")}
    done = run("backup", str(tmp_path / name))
    assert done.status == 73
    assert "is no backup of a bastion" in done.err or "which is to be backed up" in done.err
    after = {file for file in tmp_path.rglob("*") if file.is_file() and not file.name.startswith("state.db")}
    assert before == after


def test_a_folder_that_others_can_read_is_refused(run: Command, tmp_path: Path) -> None:
    record(run.config)
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    done = run("backup", str(tmp_path / "open"))
    assert done.status == 78 and "chmod 700" in done.err
    assert list((tmp_path / "open").iterdir()) == []


def test_retention_and_backup_do_not_meet(run: Command, tmp_path: Path) -> None:
    record(run.config)
    with only_remover(run.config.recordings_folder):
        assert "Try again when it is done" in run("backup", str(tmp_path / "copy")).err


def test_a_backup_that_was_cut_short_says_so_until_the_next_is_whole(run: Command, tmp_path: Path) -> None:
    record(run.config)
    copy = tmp_path / "copy"
    assert run("backup", str(copy)).status == 0
    record(run.config)
    (copy / "recordings").chmod(0o755)
    assert run("backup", str(copy)).status != 0
    assert json.loads((copy / "backup.json").read_text()) == {"finished_at": None}
    (copy / "recordings").chmod(0o700)
    assert run("backup", str(copy)).status == 0
    assert json.loads((copy / "backup.json").read_text())["finished_at"]
