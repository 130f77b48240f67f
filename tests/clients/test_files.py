"""File transfers are recorded as a manifest: what was done to which file, with the digest of what went through."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from recorder.events import FileHandled, Noted
from recorder.reader import open_recording
from tests.clients.conftest import need
from tests.rig.openssh import Client
from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.recorded import rows, streams


@pytest.fixture
def alice(world: World) -> Client:
    return world.certified("alice")


def told(recording: Path) -> list[FileHandled]:
    with open_recording(recording) as reader:
        return [entry.event for entry in reader if isinstance(entry.event, FileHandled)]


def notes(recording: Path) -> list[str]:
    with open_recording(recording) as reader:
        return [entry.event.text for entry in reader if isinstance(entry.event, Noted)]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_upload_and_download_are_told_with_size_and_digest_and_their_bytes_are_not_kept(
    alice: Client, world: World, tmp_path: Path
) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "data").write_bytes(data)
    assert alice.run(str(tmp_path / "data"), "web-1@localhost:up", program="scp").status == 0
    up = world.recordings[-1]
    sent = [file for file in told(up) if file.operation == "sent"]
    path = str(world.web_1.home("deploy") / "up")
    assert sent == [FileHandled("sent", sent[0].path, size=3_000_000, sha256=digest(data))]
    assert sent[0].path in ("up", path)
    assert f"files: sent {sent[0].path} 3,000,000 bytes SHA-256 {digest(data)}" in notes(up)
    assert (streams(up).input, streams(up).output) == (b"", b"")
    assert up.stat().st_size < 20_000

    assert alice.run("web-1@localhost:up", str(tmp_path / "back"), program="scp").status == 0
    received = [file for file in told(world.recordings[-1]) if file.operation == "received"]
    assert [(file.size, file.sha256, file.result) for file in received] == [(3_000_000, digest(data), "")]


def test_rsync_is_told_file_by_file_and_its_bytes_are_not_kept(
    alice: Client, world: World, tmp_path: Path
) -> None:
    rsync, data = str(need("rsync")), os.urandom(2_000_000)
    source, home = tmp_path / "source", world.web_1.home("deploy")
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "data").write_bytes(data)

    def run(*words: str) -> Path:
        ssh = shlex.join(alice.command())
        done = subprocess.run([rsync, "-az", "-e", ssh, *words], timeout=30, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        wait_until(lambda: rows(world)[0]["ending"] != "live", "the end of the session")
        return world.recordings[-1]

    up = run(f"{source}/", "web-1@localhost:synced")
    assert told(up)[0] == FileHandled("rsync upload", "synced")
    assert FileHandled("make folder", "folder", result="ok") in told(up)
    assert FileHandled("sent", "folder/data", size=2_000_000, sha256=digest(data)) in told(up)
    assert f"files: sent folder/data 2,000,000 bytes SHA-256 {digest(data)}" in notes(up)
    assert notes(up)[-1] == "files: rsync upload synced (complete)"
    assert (streams(up).input, streams(up).output) == (b"", b"")
    assert up.stat().st_size < 20_000
    assert rows(world)[0]["ending"] == "exited"

    down = run("web-1@localhost:synced/", str(tmp_path / "back"))
    assert FileHandled("received", "folder/data", size=2_000_000, sha256=digest(data)) in told(down)
    assert (tmp_path / "back" / "folder" / "data").read_bytes() == data

    (home / "synced" / "folder" / "data").write_bytes(data[:1_000_000] + b"new" + data[1_000_000:])
    (update,) = [
        file
        for file in told(run("web-1@localhost:synced/", str(tmp_path / "back")))
        if file.operation == "received"
    ]
    assert update.size is not None and update.size < 10_000
    assert update.size + (update.reused or 0) == 2_000_003
    assert update.checksum.startswith("xxh128 ") and update.sha256 is None


def test_bytes_that_are_no_rsync_are_kept_as_they_are(alice: Client, world: World) -> None:
    alice.run("web-1@localhost", "rsync --server -r . synced", stdin=b"\x1f\0\0\0this is no rsync at all")
    assert b"this is no rsync at all" in streams(world.recordings[-1]).input
    assert any("cannot be read" in note and "of the client" in note for note in notes(world.recordings[-1]))


def test_every_operation_is_told_before_and_after(alice: Client, world: World, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"one")
    batch = tmp_path / "batch"
    batch.write_text(
        f"mkdir d\nput {tmp_path}/one d/one\nrename d/one d/two\nchmod 600 d/two\nln -s two d/link\nls d\n"
        f"rm d/two\nrm d/link\nrmdir d\n-rm no-such-file\n"
    )
    done = alice.run("-b", str(batch), "web-1@localhost", program="sftp")
    assert done.status == 0, done.errors
    files = told(world.recordings[-1])
    home = f"{world.web_1.home('deploy')}/"
    short = [
        (f.operation, f.path.removeprefix(home).rstrip("/"), f.to.removeprefix(home), f.result) for f in files
    ]
    for operation, path, to in (
        ("make folder", "d", ""),
        ("open to write", "d/one", ""),
        ("rename", "d/one", "d/two"),
        ("set attributes", "d/two", ""),
        ("symbolic link", "d/link", "two"),
        ("list", "d", ""),
        ("remove", "d/two", ""),
        ("remove folder", "d", ""),
    ):
        asked, answered = (operation, path, to, ""), (operation, path, to, "ok")
        assert short.index(asked) < short.index(answered)
    assert short[-1] == ("remove", "no-such-file", "", "no such file")


def test_transfer_that_breaks_off_is_told_as_incomplete(alice: Client, world: World, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(50_000_000))
    scp = alice.popen("-l", "8000", str(tmp_path / "big"), "web-1@localhost:big", program="scp")
    big = world.web_1.home("deploy") / "big"
    wait_until(lambda: big.exists() and big.stat().st_size > 100_000, "the first bytes")
    scp.send_signal(signal.SIGKILL)
    scp.communicate(timeout=20)
    wait_until(lambda: rows(world)[0]["ending"] != "live", "the end of the session")
    last = told(world.recordings[-1])[-1]
    assert (last.operation, last.result) == ("sent", "incomplete")
    assert last.size is not None and last.sha256 == digest(bytes(last.size))


def test_bytes_that_are_no_sftp_are_kept_as_they_are(alice: Client, world: World) -> None:
    alice.run("-s", "web-1@localhost", "sftp", stdin=b"\xff\xff\xff\xffthis is no SFTP at all")
    assert streams(world.recordings[-1]).input == b"\xff\xff\xff\xffthis is no SFTP at all"
    assert any("cannot be read" in note for note in notes(world.recordings[-1]))


def test_contents_are_kept_beside_the_manifest_where_the_config_says_so(
    own_world: World, tmp_path: Path
) -> None:
    world = own_world
    world.configure("[recording]\nfile_contents = true", restart=True)
    (tmp_path / "data").write_bytes(b"contents of a file\n" * 100)
    alice = world.certified("alice")
    assert alice.run(str(tmp_path / "data"), "web-1@localhost:up", program="scp").status == 0
    assert (tmp_path / "data").read_bytes() in streams(world.recordings[-1]).input
    assert [file.size for file in told(world.recordings[-1]) if file.operation == "sent"] == [1900]
