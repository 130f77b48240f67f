"""The recorder's keys: private ones only the owner can read, public ones for anybody."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from recorder.errors import RecorderKeyError
from recorder.keys import SigningKey, VerifyKey, public_path


def test_a_key_is_made_for_its_owner_alone_with_a_public_half_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "recorder.pem"
    key = SigningKey.create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SigningKey.load(path).id == VerifyKey.load(public_path(path)).id == key.id
    assert VerifyKey.load(public_path(path)).verifies(SigningKey.load(path).sign(b"text"), b"text")
    assert not key.verify_key.verifies(key.sign(b"text"), b"other")


def test_openssl_reads_the_keys(tmp_path: Path) -> None:
    """They are plain PEM, so that an auditor needs no program of ours to look at one."""
    path = tmp_path / "recorder.pem"
    SigningKey.create(path)
    shown = subprocess.run(
        ["openssl", "pkey", "-in", path, "-pubout"], capture_output=True, check=True
    ).stdout
    assert shown == public_path(path).read_bytes()


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "recorder.pem"
    key = SigningKey.create(path)
    with pytest.raises(RecorderKeyError, match="exists already"):
        SigningKey.create(path)
    assert SigningKey.load(path).id == key.id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "recorder.pem"
    SigningKey.create(path)
    path.chmod(mode)
    with pytest.raises(RecorderKeyError) as refusal:
        SigningKey.load(path)
    assert refusal.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    SigningKey.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "recorder.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(RecorderKeyError, match="is not an Ed25519 private key"):
        SigningKey.load(path)
    with pytest.raises(RecorderKeyError, match="is not an Ed25519 public key"):
        VerifyKey.load(path)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ec.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path],
        check=True,
        capture_output=True,
    )
    path.chmod(0o600)
    with pytest.raises(RecorderKeyError, match="is not an Ed25519"):
        SigningKey.load(path)


def test_a_missing_key_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecorderKeyError, match="cannot be read"):
        SigningKey.load(tmp_path / "none")
    with pytest.raises(RecorderKeyError, match="cannot be read"):
        VerifyKey.load(tmp_path / "none")
    with pytest.raises(RecorderKeyError, match="cannot be written"):
        SigningKey.create(tmp_path / "none" / "key")


def test_a_signing_key_does_not_print_itself(tmp_path: Path) -> None:
    key = SigningKey.create(tmp_path / "k")
    assert repr(key) == f"SigningKey({key.id})"
