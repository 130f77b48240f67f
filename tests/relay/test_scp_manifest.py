"""The manifest of the old scp protocol as a conversation: bytes in, facts out."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastion.relay.files import Manifest
from bastion.relay.scp_manifest import ScpManifest
from bastion.relay.sftp_packets import Unreadable
from recorder.events import FileHandled, Input, Output


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


SENT = b"T1 0 1 0\nC0644 5 a.txt\nhello\0D0755 0 dir\nC0600 0 empty\n\0E\n"
TOLD = [
    FileHandled("open to write", "a.txt", size=5),
    FileHandled("sent", "a.txt", size=5, sha256=sha256(b"hello")),
    FileHandled("make folder", "dir"),
    FileHandled("open to write", "dir/empty", size=0),
    FileHandled("sent", "dir/empty", size=0, sha256=sha256(b"")),
]


@given(st.lists(st.integers(0, len(SENT)), max_size=8))
def test_cut_of_the_stream_makes_no_difference(cuts: list[int]) -> None:
    manifest = ScpManifest("upload")
    places = sorted([0, *cuts, len(SENT)])
    told = [file for a, b in itertools.pairwise(places) for file in manifest.asked(SENT[a:b])] + list(
        manifest.answered(b"\0" * 9)
    )
    assert told == TOLD
    assert list(manifest.end()) == []


def test_download_is_told_from_what_the_target_says() -> None:
    manifest = ScpManifest("download")
    assert list(manifest.asked(b"\0\0")) == []
    assert list(manifest.answered(b"C0644 3 f\nabc\0")) == [
        FileHandled("open to read", "f", size=3),
        FileHandled("received", "f", size=3, sha256=sha256(b"abc")),
    ]


def test_refusals_of_either_side_are_told() -> None:
    manifest = ScpManifest("upload")
    told = [*manifest.asked(b"C0644 3 f\n"), *manifest.answered(b"\0\1scp: f: Permission denied\n")]
    assert told[1] == FileHandled("open to write", "f", result="scp: f: Permission denied")
    assert next(iter(manifest.asked(b"C0644 1 g\nx\0"))) == FileHandled("open to write", "g", size=1)


def test_file_that_breaks_off_is_told_as_incomplete() -> None:
    manifest = ScpManifest("upload")
    list(manifest.asked(b"C0644 10 f\nabc"))
    assert list(manifest.end()) == [FileHandled("sent", "f", size=3, result="incomplete")]


@pytest.mark.parametrize("bad", [b"X\n", b"C0644 -1 f\n", b"C0644 5\n", b"E\n", b"a" * 20_000])
def test_what_is_not_understood_is_not_passed_over(bad: bytes) -> None:
    with pytest.raises(Unreadable):
        list(ScpManifest("upload").asked(bad))
    manifest = Manifest(ScpManifest("upload"), keep_contents=False)
    assert Input(bad) in list(manifest.upward([Input(bad)]))


def test_contents_are_kept_out_or_in_as_the_configuration_says() -> None:
    for keeps in (False, True):
        manifest = Manifest(ScpManifest("download"), keep_contents=keeps)
        told = list(manifest.downward([Output(b"C0644 3 f\nabc\0")]))
        assert any(isinstance(event, Output) for event in told) is keeps


def test_real_scp_is_understood_both_ways(tmp_path: Path) -> None:
    """The two programs of OpenSSH talk through us; what each said is read in one go."""
    (tmp_path / "tree" / "in").mkdir(parents=True)
    data = os.urandom(300_000)
    (tmp_path / "tree" / "in" / "big").write_bytes(data)
    (tmp_path / "tree" / "ünï").write_bytes(b"x")
    log = tmp_path / "log"
    copy = f"scp -r -p -f {tmp_path}/tree < {tmp_path}/back | tee {log} | scp -r -p -t {tmp_path}/new > {tmp_path}/back"
    os.mkfifo(tmp_path / "back")
    subprocess.run(["/bin/sh", "-c", copy], check=True, timeout=20)
    told = list(ScpManifest("download").answered(log.read_bytes()))
    assert FileHandled("received", "tree/in/big", size=300_000, sha256=sha256(data)) in told
    assert FileHandled("received", "tree/ünï", size=1, sha256=sha256(b"x")) in told
