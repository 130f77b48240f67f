"""Encrypted recordings at the command line: stock age opens them, and so do play, verify and export with a key."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.bastion_command import Command
from tests.cli.recorded import Recorded, record

pytestmark = pytest.mark.skipif(shutil.which("age") is None, reason="needs age (scripts/clients)")

RULE = '\n[[recording.retention.rules]]\nname = "short"\ntargets = ["web-*"]\nkeep = "1d"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Files of identities: one of age, an SSH key, one of age's that nothing is for."""

    age: Path
    ssh: Path
    other: Path


def tool(*words: str | Path) -> bytes:
    return subprocess.run(words, check=True, capture_output=True, timeout=20).stdout


@pytest.fixture
def keys(run: Command, tmp_path: Path) -> Keys:
    """Keys of auditors, the first two configured."""
    keys = Keys(age=tmp_path / "age.key", ssh=tmp_path / "ssh.key", other=tmp_path / "other.key")
    for file in (keys.age, keys.other):
        tool("age-keygen", "-o", file)
    tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "carol", "-f", keys.ssh)
    public = [
        tool("age-keygen", "-y", keys.age).decode().strip(),
        keys.ssh.with_suffix(".key.pub").read_text(),
    ]
    run.file.write_text(
        f"{run.file.read_text()}\n[recording]\nencrypt_to = {[key.strip() for key in public]}\n"
    )
    return keys


@pytest.fixture
def closed(run: Command, keys: Keys) -> Recorded:
    """Both sessions, encrypted."""
    recorded = record(run.config)
    assert run("index", "rebuild").status == 0
    done = run("recorder", "encrypt", "--all", "--yes")
    assert (done.status, done.out.splitlines()[-1]) == (0, "Encrypted 2 recordings.")
    return recorded


def file_of(recorded: Recorded) -> Path:
    return recorded.ada_file.with_suffix(".cast.age")


def test_stock_age_opens_it_and_stock_asciinema_plays_what_comes_out(
    run: Command, keys: Keys, closed: Recorded, tmp_path: Path
) -> None:
    for identity in (keys.age, keys.ssh):
        plain = tmp_path / "opened.cast"
        plain.write_bytes(tool("age", "-d", "-i", identity, file_of(closed)))
        shown = tool(Path(sys.executable).with_name("asciinema"), "cat", plain)
        assert b"hello" in shown
        assert run("verify", str(plain)).out.startswith(f"{closed.ada}  sealed: all")
    assert not closed.ada_file.exists()


def test_play_verify_and_export_take_an_identity(
    run: Command, keys: Keys, closed: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for identity in (keys.age, keys.ssh):
        key = ("--identity", str(identity))
        assert run("play", closed.ada, *key).out == "hello\r\n"
        assert run("verify", closed.ada, *key).out.startswith(f"{closed.ada}  sealed: all")
    assert len(run("audit", "--event", "recording.played", "--json").json) == 2
    monkeypatch.setenv("BASTION_AGE_IDENTITY", str(keys.age))
    assert run("play", str(file_of(closed))).out == "hello\r\n"
    for form in ("v2", "v3", "text", "json", "html"):
        out = tmp_path / f"out.{form}"
        done = run("export", closed.ada, "--format", form, "--output", str(out))
        assert done.status == 0, done.err
        assert form == "html" or b"hello" in out.read_bytes()
    assert run("verify", str(shutil.copy(tmp_path / "out.v2", tmp_path / "out.cast"))).status == 0
    assert run("export", closed.ada, "--format", "raw", "--output", str(tmp_path / "raw")).status == 0
    assert (tmp_path / "raw" / "output.bin").read_bytes() == b"\x1b]0;t\x07hello\r\n"
    assert run("export", closed.ada, "--format", "bundle", "--output", str(tmp_path / "zip")).status == 0
    with zipfile.ZipFile(tmp_path / "zip") as bundle:
        assert b"hello" in bundle.read(f"{closed.ada}/{closed.ada}.cast")


@pytest.mark.parametrize("words", [["play"], ["follow"], ["export", "--format", "text"]])
def test_without_an_identity_it_says_whose_it_takes(run: Command, closed: Recorded, words: list[str]) -> None:
    done = run(words[0], closed.ada, *words[1:])
    assert (done.status, done.out) == (78, "")
    assert f"{closed.ada}.cast.age is encrypted" in done.err and "--identity FILE" in done.err
    assert "  age1" in done.err and "  ssh-ed25519 " in done.err
    events = run("audit", "--json").json
    assert not [event for event in events if event["event"] in ("recording.played", "recording.exported")]


def test_identities_that_do_not_open_it_are_told_apart(
    run: Command, keys: Keys, closed: Recorded, tmp_path: Path
) -> None:
    done = run("play", closed.ada, "--identity", str(keys.other))
    assert (done.status, done.out) == (78, "")
    assert "not for the identity that was named" in done.err and "  age1" in done.err
    locked = tmp_path / "locked.key"
    tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked)
    assert "has a passphrase" in run("play", closed.ada, "--identity", str(locked)).err
    sealed = tmp_path / "sealed.key"
    tool("age", "-a", "-r", tool("age-keygen", "-y", keys.other).decode().strip(), "-o", sealed, keys.age)
    done = run("play", closed.ada, "--identity", str(sealed))
    assert done.status == 78 and f"<(age -d {sealed})" in done.err
    plugin = tmp_path / "plugin.key"
    plugin.write_text("AGE-PLUGIN-YUBIKEY-1QQQQQQQQQQQQ\n")
    assert "age -d" in run("play", closed.ada, "--identity", str(plugin)).err
    assert "cannot be read" in run("play", closed.ada, "--identity", str(tmp_path / "none")).err


def test_verify_all_without_and_with_an_identity(run: Command, keys: Keys, closed: Recorded) -> None:
    done = run("verify", "--all")
    assert done.status == 0
    assert done.out == (
        "2 recordings: 2 unchanged, 0 not; encrypted, and verified from outside: 2 (--identity)\n"
    )
    assert run("verify", "--all", "--identity", str(keys.ssh)).out == "2 recordings: 2 unchanged, 0 not\n"
    assert run("verify", "--all", "--identity", str(keys.other)).status == 0
    label = closed.ada_file.with_suffix(".label")
    label.rename(label.with_suffix(".away"))
    assert f"{closed.ada}  NO LABEL: " in (done := run("verify", "--all")).out
    assert done.status == 1
    label.with_suffix(".away").rename(label)
    file_of(closed).write_bytes(file_of(closed).read_bytes()[:-1])
    assert f"{closed.ada}  CHANGED: the encrypted file is not" in run("verify", "--all").out
    file_of(closed).unlink()
    assert f"{closed.ada}  MISSING: " in run("verify", "--all").out
    label.unlink()
    assert run("verify", "--all").out.count("MISSING") == 1


def test_its_text_is_gone_from_the_index_and_a_search_says_so(run: Command, closed: Recorded) -> None:
    files = [file for file in run.config.recordings_folder.rglob("*") if file.is_file()]
    assert not [file for file in files if b"hello" in file.read_bytes()]
    assert not [file for file in files if b"greet" in file.read_bytes()]
    done = run("search", "hello")
    assert (done.status, done.out) == (1, "")
    assert "Not searched: 2 encrypted sessions that fit otherwise" in done.err
    assert run("index", "rebuild").status == 0
    assert [row["encrypted"] for row in run("sessions", "--json").json] == [True, True]
    assert {row["user"] for row in run("sessions", "--json").json} == {"ada", "bob"}


def test_with_the_setting_its_text_stays_and_is_made_anew_with_an_identity(run: Command, keys: Keys) -> None:
    run.file.write_text(run.file.read_text() + "search_encrypted = true\n")
    recorded = record(run.config)
    assert run("recorder", "encrypt", recorded.ada, "--yes").status == 0
    assert recorded.ada in run("search", "hello").out
    assert run("index", "rebuild").status == 0
    assert recorded.ada in run("search", "hello").out
    for file in run.config.recordings_folder.glob("search.db*"):
        file.unlink()
    assert run("index", "rebuild").status == 0
    assert run("search", "hello").status == 1
    assert run("index", "rebuild", "--identity", str(keys.age)).status == 0
    assert recorded.ada in run("search", "hello").out


def test_encrypting_asks_first_and_needs_keys(
    run: Command, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = record(run.config)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: "n")
    done = run("recorder", "encrypt", recorded.ada)
    assert done.status != 0 and "age1" in done.out
    assert recorded.ada_file.exists()
    text = run.file.read_text()
    run.file.write_text(text[: text.index("encrypt_to")])
    assert "no keys are configured" in run("recorder", "encrypt", "--all").err


def test_retention_and_holds_know_encrypted_recordings(run: Command, closed: Recorded) -> None:
    run.file.write_text(run.file.read_text() + RULE)
    assert run("hold", "add", closed.ada, "--reason", "court").status == 0
    assert run("retention", "apply", "--yes").status == 0
    assert file_of(closed).exists()
    run("hold", "remove", "1")
    size = file_of(closed).stat().st_size + closed.ada_file.with_suffix(".label").stat().st_size
    done = run("retention", "apply", "--yes")
    assert "Removed 1 recording" in done.out, done.err
    assert not list(run.config.recordings_folder.rglob(f"*{closed.ada}*"))
    (stone,) = run("sessions", "--removed", "--json").json
    assert (stone["session"], stone["user"], stone["bytes"]) == (closed.ada, "ada", size)
    assert run("verify", "--all").status == 0


def test_a_backup_exchanges_what_was_plain_when_it_was_made_last(
    run: Command, keys: Keys, tmp_path: Path
) -> None:
    recorded = record(run.config)
    copy = tmp_path / "copy"
    assert run("backup", str(copy)).status == 0
    assert run("recorder", "encrypt", recorded.ada, "--yes").status == 0
    done = run("backup", str(copy), "--json").json
    assert (done["recordings"], done["kept"]) == (1, 1)
    names = {file.name for file in copy.rglob("*.*") if recorded.ada in file.name}
    assert names == {f"{recorded.ada}.cast.age", f"{recorded.ada}.label"}
    assert run("backup", str(copy), "--json").json["recordings"] == 0
    shutil.copytree(copy / "recordings", tmp_path / "restored")
    run.file.write_text(run.file.read_text() + f'folder = "{tmp_path / "restored"}"\n')
    assert run("verify", "--all").status == 0
    assert len(run("sessions", "--json").json) == 2
