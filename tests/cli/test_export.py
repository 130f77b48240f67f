"""`bastion export`: who takes what, where it goes, and what is refused."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path

import pytest

from recorder.keys import public_path
from tests.cli.bastion_command import Command
from tests.cli.recorded import Recorded, record


@pytest.fixture
def recorded(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    monkeypatch.chdir(tmp_path)
    return record(run.config)


def test_an_export_is_written_to_the_audit_trail_with_who_took_it_and_how(
    run: Command, recorded: Recorded
) -> None:
    assert run("export", recorded.ada, "--format", "html", "--redact").status == 0
    (event,) = run("audit", "--json", "--event", "recording").json
    assert (event["event"], event["session"]) == ("recording.exported", recorded.ada)
    detail = event["detail"]
    assert (detail["of"], detail["format"], detail["redacted"], detail["uid"]) == (
        "ada",
        "html",
        True,
        os.getuid(),
    )


def test_an_export_that_cannot_be_audited_is_refused(
    run: Command, recorded: Recorded, tmp_path: Path
) -> None:
    run.config.state_file.unlink()
    assert run("export", recorded.ada, "--format", "html").status != 0
    assert not list(tmp_path.glob("*.html"))


def test_pipes_get_text_and_json(run: Command, recorded: Recorded) -> None:
    assert run("export", recorded.ada, "--format", "text").out == "hello\n"
    events = [json.loads(line) for line in run("export", recorded.ada, "--format", "json").out.splitlines()]
    assert [event["event"] for event in events] == ["began", "output", "exited", "sealed"]


def test_files_are_for_their_owner_only_and_nothing_is_overwritten(
    run: Command, recorded: Recorded, tmp_path: Path
) -> None:
    assert run("export", recorded.ada, "--format", "html").status == 0
    page = tmp_path / f"{recorded.ada}.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    again = run("export", recorded.ada, "--format", "html")
    assert again.status == 70 and "--output" in again.err
    raw = run("export", recorded.ada, "--format", "raw")
    assert raw.status == 0
    assert (tmp_path / recorded.ada / "output.bin").read_bytes() == b"\x1b]0;t\x07hello\r\n"


def test_bundle_verifies_with_the_command_that_it_names(
    run: Command, recorded: Recorded, tmp_path: Path
) -> None:
    assert run("export", recorded.ada, "--format", "bundle").status == 0
    with zipfile.ZipFile(tmp_path / f"{recorded.ada}.zip") as bundle:
        bundle.extractall(tmp_path)
    folder = tmp_path / recorded.ada
    (key,) = (folder / "keys").iterdir()
    assert key.read_bytes() == public_path(run.config.recorder_key_file).read_bytes()
    done = run("verify", "--key", str(key), str(folder / f"{recorded.ada}.cast"))
    assert done.status == 0 and "sealed" in done.out


def test_evidence_is_not_redacted(run: Command, recorded: Recorded) -> None:
    done = run("export", recorded.ada, "--format", "bundle", "--redact")
    assert done.status == 2 and "cannot be verified" in done.err


def test_a_file_is_exported_without_a_bastion(run: Command, recorded: Recorded, tmp_path: Path) -> None:
    file = tmp_path / "taken.cast"
    file.write_bytes(recorded.ada_file.read_bytes())
    run.file.unlink()
    assert run("export", str(file), "--format", "text").out == "hello\n"


def test_what_is_no_recording_is_explained_and_leaves_nothing_behind(
    run: Command, recorded: Recorded, tmp_path: Path
) -> None:
    (tmp_path / "x.cast").write_text("hello\n")
    done = run("export", str(tmp_path / "x.cast"), "--format", "html", "--output", str(tmp_path / "out"))
    assert done.status == 65 and "not the header" in done.err
    assert not (tmp_path / "out").exists()


def test_a_damaged_recording_leaves_no_half_of_an_export(
    run: Command, recorded: Recorded, tmp_path: Path
) -> None:
    lines = recorded.ada_file.read_bytes().splitlines(keepends=True)
    (tmp_path / "x.cast").write_bytes(b"".join([*lines[:3], b"[1.0,\n", *lines[3:]]))
    done = run("export", str(tmp_path / "x.cast"), "--format", "v3", "--output", str(tmp_path / "out"))
    assert done.status == 65 and "line 4" in done.err
    assert not (tmp_path / "out").exists()


def test_secrets_of_the_configuration_are_redacted_too(run: Command, recorded: Recorded) -> None:
    run.file.write_text(run.file.read_text() + '\n[recording]\nsecrets = { "greeting" = "hel+o" }\n')
    assert run("export", recorded.ada, "--format", "text", "--redact").out == "[redacted: greeting]\n"
    assert run("export", recorded.ada, "--format", "text").out == "hello\n"


@pytest.mark.parametrize(("expression", "said"), [("(", "not a regular expression"), ("a*", "empty text")])
def test_a_wrong_expression_in_the_configuration_is_explained(
    run: Command, expression: str, said: str
) -> None:
    run.file.write_text(run.file.read_text() + f'\n[recording]\nsecrets = {{ "x" = "{expression}" }}\n')
    done = run("check")
    assert done.status != 0 and said in done.err + done.out
