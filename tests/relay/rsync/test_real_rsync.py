"""Real rsyncs talk; what is told of it is held against the files that they copied."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import stat
import struct
from contextlib import suppress
from pathlib import Path

import pytest

from recorder.events import FileHandled
from tests.clients.conftest import need
from tests.relay.rsync.conversations import Conversation, converse

DIRECTIONS = pytest.mark.parametrize("direction", ["upload", "download"])
CONTENTS = {"upload": "sent", "download": "received"}
OPENED = {"upload": "open to write", "download": "open to read"}


@pytest.fixture(scope="module")
def rsync() -> str:
    return str(need("rsync"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all kinds, in folders whose order is easily got wrong."""
    tree, numbers = tmp_path_factory.mktemp("rsync") / "tree", random.Random(1)
    for folder in (
        "foo",
        "foo.bar",
        "foo-x",
        "foo/sub",
        "foo/sub.d",
        "empty",
        "ünï/日本",
        "n" * 200,
        *["d/" * 9],
    ):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    names = [
        "a",
        "foo0",
        "foo/1",
        "foo/sub/x",
        "foo/sub.d/y",
        "foo.bar/z",
        "foo-x/q",
        "new\nline",
        "ünï/日本/f",
    ]
    names += [
        "zero",
        "n" * 200 + "/" + "b" * 250,
        "-dash",
        "a b",
        ".hidden",
        *(f"foo/many{n}" for n in range(40)),
    ]
    for place, name in enumerate(names):
        size = 0 if name == "zero" else numbers.choice([1, 700, 701, 40_000])
        (tree / name).write_bytes(
            numbers.randbytes(size) if place % 2 else b"a line of text\n" * (size // 15)
        )
        os.utime(tree / name, (1.6e9 + place * 0.37, 1.6e9 + place * 0.37))
        (tree / name).chmod((0o600, 0o644, 0o755)[place % 3])
    (tree / "big").write_bytes(numbers.randbytes(300_000))
    (tree / "bigtext").write_bytes(b"".join(b"line %d\n" % number for number in range(40_000)))
    for name, first in (("foo/big", "big"), ("link to a", "a"), ("foo/1 too", "foo/1")):
        os.link(tree / first, tree / name)
    (tree / "symbolic").symlink_to("a")
    (tree / "foo" / "dangling").symlink_to("/nowhere/ü")
    os.mkfifo(tree / "fifo")
    _attach(tree)
    return tree


def _attach(tree: Path) -> None:
    """Attributes and access control lists, where this machine and file system have them."""
    entries = [(1, 6, -1), (2, 4, 1), (2, 6, 12345), (4, 4, -1), (8, 6, 2), (0x10, 6, -1), (0x20, 4, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    with suppress(OSError):
        os.setxattr(tree / "a", "user.short", b"x")
        for name in ("foo0", "foo"):
            os.setxattr(tree / name, "user.long", b"y" * 500)
        for name in ("a", "foo", "foo/1"):
            os.setxattr(tree / name, "system.posix_acl_access", acl)
        os.setxattr(tree / "foo", "system.posix_acl_default", acl)


@pytest.fixture
def copy(tmp_path: Path, tree: Path) -> Path:
    """An old copy of the tree: parts of files differ, and there is more in it."""
    copy = tmp_path / "copy"
    shutil.copytree(tree, copy, symlinks=True, ignore=lambda *_: ["fifo", "foo-x"])
    for file in (copy / "big", copy / "bigtext", copy / "foo" / "1"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 4] = b"XY"
        file.write_bytes(data)
    (copy / "more").mkdir()
    (copy / "more" / "file").write_bytes(b"more")
    return copy


def regular(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink()
    }


def run(
    rsync: str, tmp_path: Path, direction: str, options: str, source: Path, to: Path, limit: int | None = None
) -> Conversation:
    paths = (f"{source}/", f"host:{to}/") if direction == "upload" else (f"host:{source}/", f"{to}/")
    return converse(rsync, tmp_path / "log", *options.split(), *paths, limit=limit)


def contents(told: list[FileHandled]) -> dict[str, FileHandled]:
    return {file.path: file for file in told if file.operation in ("sent", "received")}


def assert_told(told: list[FileHandled], source: dict[str, bytes], direction: str) -> None:
    """Each told file is one of *source*, with its size and digest; the run came to a good end."""
    for path, file in contents(told).items():
        data = source[path]
        assert file.operation == CONTENTS[direction]
        assert (file.size or 0) + (file.reused or 0) + file.offset == len(data), file
        if file.reused:
            assert file.sha256 is None and file.checksum, file
        else:
            assert file.sha256 == hashlib.sha256(data[file.offset :]).hexdigest(), file
        assert told.index(FileHandled(OPENED[direction], path, size=len(data))) < told.index(file)
    assert told[-1].result == "complete", told[-1]


@DIRECTIONS
@pytest.mark.parametrize(
    "options",
    [
        "-a",
        "-aHAX",
        "-az",
        "-az --compress-choice=lz4",
        "-az --compress-choice=zlib",
        "-az --compress-choice=zlibx",
        "-rltc --checksum-choice=sha1,xxh64",
        "-rlt --checksum-choice=none",
        "-aHAXc --no-inc-recursive",
        "-a -s --numeric-ids",
        "-aUz --delete -vv --stats",
        "-aHAXz --protocol=31",
        "-aHAX --protocol=30",
        "-aHz --protocol=29",
        "-aH --protocol=28",
        "-aHc --protocol=27",
    ],
)
def test_tree_is_told_whole_with_sizes_and_digests(
    rsync: str, tmp_path: Path, tree: Path, direction: str, options: str
) -> None:
    told = run(rsync, tmp_path, direction, options, tree, tmp_path / "new").told()
    source, copied = regular(tree), regular(tmp_path / "new")
    assert_told(told, source, direction)
    assert copied == source
    inodes = {(tmp_path / "new" / path).stat().st_ino for path in contents(told)}
    assert all((tmp_path / "new" / path).stat().st_ino in inodes for path in copied)


@DIRECTIONS
@pytest.mark.parametrize("options", ["-a", "-ac", "-az", "-az --compress-choice=zlib", "-aI --protocol=29"])
def test_update_is_told_by_what_was_new_and_what_was_there(
    rsync: str, tmp_path: Path, tree: Path, copy: Path, direction: str, options: str
) -> None:
    told = run(rsync, tmp_path, direction, options, tree, copy).told()
    assert_told(told, regular(tree), direction)
    big = contents(told)["big"]
    assert big.size is not None and 0 < big.size < 3_000
    assert big.reused == 300_000 - big.size
    assert contents(told)["foo-x/q"].sha256


@DIRECTIONS
@pytest.mark.parametrize("option", ["--append", "--append-verify", "--partial-dir=.p"])
def test_file_that_is_continued_is_told_from_where_on(
    rsync: str, tmp_path: Path, direction: str, option: str
) -> None:
    data = random.Random(2).randbytes(200_000)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "f").write_bytes(data)
    partial = tmp_path / "to" / (".p" if "partial" in option else "") / "f"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(data[:150_000])
    os.utime(partial, (1, 1))
    told = run(rsync, tmp_path, direction, f"-r {option}", tmp_path / "source", tmp_path / "to").told()
    file = contents(told)["f"]
    assert (tmp_path / "to" / "f").read_bytes() == data
    if "append" in option:
        assert (file.offset, file.size) == (150_000, 50_000)
        assert file.sha256 == hashlib.sha256(data[150_000:]).hexdigest()
    else:
        assert file.reused is not None and file.reused > 140_000


def test_append_that_does_not_fit_is_told_again(rsync: str, tmp_path: Path) -> None:
    for folder, data in (("source", b"right" * 40_000), ("to", b"wrong" * 30_000)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "f").write_bytes(data)
    told = run(rsync, tmp_path, "upload", "-r --append-verify", tmp_path / "source", tmp_path / "to").told()
    results = [(file.size, file.result) for file in told if file.operation == "sent"]
    assert results[0] == (50_000, "")
    assert results[1][1].endswith("again") and results[2][1] == ""
    assert (tmp_path / "to" / "f").read_bytes() == b"right" * 40_000


def test_what_the_target_makes_is_told(rsync: str, tmp_path: Path, tree: Path, copy: Path) -> None:
    (copy / "a").chmod(0o777)
    told = run(rsync, tmp_path, "upload", "-aH --delete -i", tree, copy).told()
    short = [(file.operation, file.path, file.to, file.result) for file in told]
    assert told[0] == FileHandled("rsync upload --delete", f"{copy}/")
    for expected in (
        ("make folder", "foo-x", "", "ok"),
        ("set attributes", "a", "", "ok"),
        ("make special file", "fifo", "", "ok"),
        ("link", "big", "foo/big", "ok"),
        ("remove", "more/file", "", "ok"),
        ("remove folder", "more", "", "ok"),
    ):
        assert expected in short
    assert ("symbolic link", "symbolic", "a", "ok") in [
        (file.operation, file.path, file.to, file.result)
        for file in run(rsync, tmp_path, "upload", "-a", tree, tmp_path / "new").told()
    ]


def test_folders_that_a_download_lists_and_files_that_it_removes_are_told(
    rsync: str, tmp_path: Path, tree: Path
) -> None:
    told = run(rsync, tmp_path, "download", "-rn --list-only", tree, tmp_path / "new").told()
    assert FileHandled("list", "foo/sub", result="ok") in told
    assert not contents(told)
    shutil.copytree(tree / "foo", tmp_path / "away", symlinks=True)
    told = run(
        rsync, tmp_path, "download", "-r --remove-source-files", tmp_path / "away", tmp_path / "new"
    ).told()
    assert {file.path for file in told if file.operation == "remove"} == set(contents(told)) != set()


@DIRECTIONS
def test_dry_run_tells_of_no_contents(rsync: str, tmp_path: Path, tree: Path, direction: str) -> None:
    told = run(rsync, tmp_path, direction, "-anHX -i", tree, tmp_path / "new").told()
    assert told[0].operation == f"rsync {direction} --dry-run"
    assert {file.operation for file in told[1:-1]} <= {"list"}
    assert not (tmp_path / "new").exists()


@DIRECTIONS
def test_window_that_is_too_wide_costs_the_digest_and_nothing_else(
    rsync: str, tmp_path: Path, tree: Path, direction: str
) -> None:
    options = "-a --compress-choice=zstd --compress-level=22"
    told = run(rsync, tmp_path, direction, options, tree, tmp_path / "new").told()
    sizes = {path: len(data) for path, data in regular(tree).items()}
    assert {path: file.size for path, file in contents(told).items()} == sizes
    assert all(file.checksum and file.sha256 is None for file in contents(told).values() if file.size)
    assert told[-1].result == "complete"


def test_batch_that_is_only_written_sends_no_contents(
    rsync: str, tmp_path: Path, tree: Path, copy: Path
) -> None:
    told = run(rsync, tmp_path, "upload", f"-a --only-write-batch={tmp_path}/batch", tree, copy).told()
    assert not contents(told)
    assert told[-1].result == "complete"


def test_nothing_to_copy_is_a_run_that_ends(rsync: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for direction in ("upload", "download"):
        told = run(rsync, tmp_path, direction, "-t", tmp_path / "source", tmp_path / "new").told()
        assert [file.result for file in told] == ["", "complete"]


@pytest.mark.parametrize("protocol", ["", "--protocol=30", "--protocol=29"])
@pytest.mark.parametrize("place", ["", ":"])
@DIRECTIONS
def test_files_named_in_a_list_are_told(
    rsync: str, tmp_path: Path, tree: Path, direction: str, place: str, protocol: str
) -> None:
    (tmp_path / "names").write_text("a\nfoo/sub/x\nfoo.bar\n\nünï/日本/f")
    options = f"-a {protocol} --files-from={place}{tmp_path}/names"
    told = run(rsync, tmp_path, direction, options, tree, tmp_path / "new").told()
    assert_told(told, regular(tree), direction)
    assert set(contents(told)) == {"a", "foo/sub/x", "ünï/日本/f"}


@DIRECTIONS
def test_many_folders_are_listed_while_files_pass(rsync: str, tmp_path: Path, direction: str) -> None:
    for number in range(3_000):
        folder = tmp_path / "source" / f"d{number % 150}" / f"e{number % 7}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_bytes(b"%d" % number)
    conversation = run(rsync, tmp_path, direction, "-r", tmp_path / "source", tmp_path / "new")
    told = conversation.told()
    assert_told(told, regular(tmp_path / "source"), direction)
    assert len(contents(told)) == 3_000


@DIRECTIONS
def test_transfer_that_breaks_off_is_told_as_incomplete(
    rsync: str, tmp_path: Path, tree: Path, direction: str
) -> None:
    conversation = run(rsync, tmp_path, direction, "-a --partial", tree, tmp_path / "new", limit=150_000)
    assert conversation.status
    *_, file, run_itself = conversation.told()
    assert (file.path, file.operation, file.result) == ("big", CONTENTS[direction], "incomplete")
    assert file.size and file.sha256 == hashlib.sha256((tree / "big").read_bytes()[: file.size]).hexdigest()
    assert run_itself.result == "incomplete"


@pytest.mark.parametrize("protocol", ["", "--protocol=30", "--protocol=29"])
def test_what_the_target_complains_of_is_told(rsync: str, tmp_path: Path, protocol: str) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "f").write_bytes(b"data")
    paths = (f"host:{tmp_path}/source/", f"host:{tmp_path}/nothing", tmp_path / "new")
    told = converse(rsync, tmp_path / "log", "-r", "--stderr=client", *protocol.split(), *paths).told()
    assert any(file.operation == "complaint" and "nothing" in file.result for file in told)
    assert told[-1].result == "with errors"
    assert stat.S_ISREG((tmp_path / "new" / "f").stat().st_mode)
