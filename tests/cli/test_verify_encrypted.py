"""Recordings that were encrypted with stock age: verified with an identity, and never a part taken for the whole."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.bastion_command import Command
from tests.cli.recorded import Recorded, record

pytestmark = pytest.mark.skipif(shutil.which("age") is None, reason="needs age (scripts/clients)")


@pytest.fixture
def recorded(run: Command) -> Recorded:
    return record(run.config)


def tool(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=20)


def encrypt(source: Path, folder: Path, *to: str | Path) -> Path:
    encrypted = folder / f"{source.name}.age"
    tool("age", *to, "-o", encrypted, source)
    return encrypted


def test_stock_age_and_verify_agree_on_both_kinds_of_keys(
    run: Command, recorded: Recorded, tmp_path: Path
) -> None:
    age_key, ssh_key = tmp_path / "age.key", tmp_path / "ssh.key"
    tool("age-keygen", "-o", age_key)
    tool("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh_key)
    file = encrypt(recorded.ada_file, tmp_path, "-i", age_key, "-R", ssh_key.with_suffix(".key.pub"), "-e")
    for identity in (age_key, ssh_key):
        done = run("verify", "--identity", str(identity), str(file))
        assert done.status == 0, done.err
        assert f"{recorded.ada}  sealed: all" in done.out


def test_without_the_right_identity_it_says_what_to_do(
    run: Command, recorded: Recorded, tmp_path: Path
) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    tool("age-keygen", "-o", mine)
    tool("age-keygen", "-o", other)
    file = encrypt(recorded.ada_file, tmp_path, "-e", "-i", mine)
    assert "with --identity" in (done := run("verify", str(file))).err
    assert done.status == 78
    assert "cannot be decrypted" in (done := run("verify", "--identity", str(other), str(file))).err
    assert done.status != 0
    assert "no identity" in run("verify", "--identity", str(recorded.ada_file), str(file)).err


def test_a_cut_or_changed_file_is_refused(run: Command, recorded: Recorded, tmp_path: Path) -> None:
    key = tmp_path / "key"
    tool("age-keygen", "-o", key)
    file = encrypt(recorded.ada_file, tmp_path, "-e", "-i", key)
    whole = file.read_bytes()
    for spoilt in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        file.write_bytes(spoilt)
        done = run("verify", "--identity", str(key), str(file))
        assert done.status != 0
        assert "sealed" not in done.out
