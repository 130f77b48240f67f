"""Private files: whole or not at all, and refused when others could have read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bastion.errors import KeyFileError
from bastion.runtime.files import (
    check_private_folder,
    create_file,
    make_private_folder,
    read_private,
    replace_file,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
SOMEBODY = 54321


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o777])
def test_a_created_file_has_its_mode_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        create_file(tmp_path / "key", b"secret")
        create_file(tmp_path / "key.pub", b"public", mode=0o644)
        replace_file(tmp_path / "cert", b"public")
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("key", "key.pub", "cert")] == [0o600, 0o644, 0o600]
    assert read_private(tmp_path / "key") == b"secret"


def test_creating_never_replaces(tmp_path: Path) -> None:
    create_file(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"


def test_creating_never_writes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "key", b"secret")
    assert not (tmp_path / "elsewhere").exists()


def test_replacing_puts_another_file_in_the_place_and_leaves_open_ones_as_they_are(tmp_path: Path) -> None:
    create_file(tmp_path / "cert", b"first")
    with (tmp_path / "cert").open("rb") as reader:
        replace_file(tmp_path / "cert", b"second")
        assert reader.read() == b"first"
    assert (tmp_path / "cert").read_bytes() == b"second"


def test_nothing_is_left_behind_by_success_or_failure_or_a_killed_predecessor(tmp_path: Path) -> None:
    (tmp_path / f".key.{os.getpid()}.new").write_bytes(b"half of a ke")
    create_file(tmp_path / "key", b"secret")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "key", b"secret")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OSError):
        replace_file(tmp_path / "folder", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "key"]


@pytest.mark.parametrize("open_to_others", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_key_that_others_can_use_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, open_to_others: int
) -> None:
    path = tmp_path / "my key"
    create_file(path, b"secret")
    path.chmod(open_to_others)
    with pytest.raises(KeyFileError, match=f"its mode is {open_to_others:04o}, it must be 0600") as refused:
        read_private(path)
    assert refused.value.hint == f"chmod 600 '{path}'"
    os.system(refused.value.hint)
    assert read_private(path) == b"secret"


def test_a_missing_key_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="key cannot be read: No such file or directory"):
        read_private(tmp_path / "key")


def test_a_private_folder_is_made_once_and_refused_when_open(tmp_path: Path) -> None:
    folder = tmp_path / "over" / "data"
    assert make_private_folder(folder)
    assert mode(folder) == 0o700
    assert not make_private_folder(folder)
    folder.chmod(0o750)
    with pytest.raises(KeyFileError) as refused:
        check_private_folder(folder)
    assert refused.value.hint == f"chmod 700 {folder}"


@as_root
def test_a_key_of_somebody_else_is_refused(tmp_path: Path) -> None:
    create_file(tmp_path / "key", b"secret")
    os.chown(tmp_path / "key", SOMEBODY, -1)
    with pytest.raises(
        KeyFileError, match=f"belongs to another user .uid {SOMEBODY}, we run as 0"
    ) as refused:
        read_private(tmp_path / "key")
    assert f"chown 0 {tmp_path}/key" in refused.value.hint


@as_root
def test_what_root_makes_in_the_folder_of_the_service_belongs_to_the_service(tmp_path: Path) -> None:
    """Otherwise `sudo bastion ca rotate` would make a key that the service cannot read."""
    os.chown(tmp_path, SOMEBODY, SOMEBODY)
    create_file(tmp_path / "key", b"secret")
    replace_file(tmp_path / "cert", b"public")
    make_private_folder(tmp_path / "keys")
    for name in ("key", "cert", "keys"):
        found = (tmp_path / name).stat()
        assert (found.st_uid, found.st_gid) == (SOMEBODY, SOMEBODY)
    assert read_private(tmp_path / "key") == b"secret"
