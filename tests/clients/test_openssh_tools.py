"""What people call ssh by: scp, sftp, rsync, git, ssh-copy-id. Each through a jump and directly."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import Way, need
from tests.rig.openssh import Client
from tests.rig.world import World
from tests.server.recorded import rows

PROTOCOLS = pytest.mark.parametrize("protocol", [(), ("-O",)], ids=["sftp", "old"])


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command, capture_output=True, check=False, timeout=60, env={**os.environ, **variables}
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@PROTOCOLS
def test_scp_carries_files_both_ways(
    way: Way, world: World, tmp_path: Path, protocol: tuple[str, ...]
) -> None:
    source, back = tmp_path / "a file", tmp_path / "back"
    source.write_bytes(random.Random(1).randbytes(3_000_000))
    up = way.client.run(*protocol, *way.options, str(source), f"{way.host}:sent", program="scp")
    assert up.status == 0, up.errors
    assert (world.web_1.home("deploy") / "sent").read_bytes() == source.read_bytes()
    down = way.client.run(*protocol, *way.options, f"{way.host}:sent", str(back), program="scp")
    assert down.status == 0, down.errors
    assert back.read_bytes() == source.read_bytes()


def test_sftp_does_all_it_can(way: Way, world: World, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(os.urandom(200_000))
    batch = tmp_path / "batch"
    batch.write_text(
        f"mkdir d\nput {tmp_path}/one d/one\nrename d/one d/two\nchmod 600 d/two\nls -l d\n"
        f"get d/two {tmp_path}/two\nrm d/two\nrmdir d\n"
    )
    done = way.client.run("-b", str(batch), *way.options, way.host, program="sftp")
    assert done.status == 0, done.errors
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()
    assert not (world.web_1.home("deploy") / "d").exists()


def test_rsync_carries_a_tree_of_200_files_both_ways(way: Way, world: World, tmp_path: Path) -> None:
    rsync, source, back = need("rsync"), tmp_path / "source", tmp_path / "back"
    numbers = random.Random(2)
    for index in range(200):
        file = source / f"dir {index % 7}" / f"file {index}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(numbers.randbytes(numbers.randrange(20_000)))
    up = run(rsync, "-a", "--delete", "-e", way.ssh, f"{source}/", f"{way.host}:tree/")
    assert up.returncode == 0, up.stderr
    assert tree(world.web_1.home("deploy") / "tree") == tree(source)
    down = run(rsync, "-ac", "-e", way.ssh, f"{way.host}:tree/", f"{back}/")
    assert down.returncode == 0, down.stderr
    assert tree(back) == tree(source)


def test_git_clones_and_pushes(way: Way, world: World, tmp_path: Path) -> None:
    git, home, clone = need("git"), world.web_1.home("deploy"), tmp_path / "clone"
    bare = home / f"{tmp_path.name}.git"
    me = dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL", "EMAIL"), "a@b")
    assert run(git, "init", "-q", "--bare", bare).returncode == 0
    done = run(git, "clone", "-q", f"ssh://{way.host}{bare}", clone, GIT_SSH_COMMAND=way.ssh)
    assert done.returncode == 0, done.stderr
    (clone / "file").write_bytes(os.urandom(500_000))
    for words in (
        ("add", "file"),
        ("-c", "user.name=a", "commit", "-qm", "One"),
        ("push", "-q", "origin", "HEAD"),
    ):
        done = run(git, "-C", clone, *words, GIT_SSH_COMMAND=way.ssh, **me)
        assert done.returncode == 0, done.stderr
    again = run(git, "clone", "-q", f"ssh://{way.host}{bare}", tmp_path / "again", GIT_SSH_COMMAND=way.ssh)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again/file").read_bytes() == (clone / "file").read_bytes()


def test_connection_kept_open_serves_the_sessions_that_follow(way: Way, world: World, tmp_path: Path) -> None:
    keep = ["-o", f"ControlPath={tmp_path}/mux", "-o", "ControlMaster=auto", "-o", "ControlPersist=30"]
    before = len(rows(world))
    try:
        for word in ("one", "two"):
            done = way.client.run(*keep, *way.options, way.host, f"echo {word}")
            assert done.text == f"{word}\n"
        assert len(rows(world)) == before + 2
    finally:
        way.client.run("-S", f"{tmp_path}/mux", "-O", "exit", way.host)


@pytest.mark.parametrize("host", ["deploy@web-1", "bastion"])
def test_ssh_copy_id_is_told_a_better_way(world: World, tmp_path: Path, host: str) -> None:
    other = Client(tmp_path / "other", port=world.bastion.port)
    options = [
        "-F",
        str(world.jumper("alice").config),
        *(["-o", "ProxyJump=bastion"] if host != "bastion" else []),
    ]
    (tmp_path / ".ssh").mkdir()
    done = run("ssh-copy-id", "-f", *options, "-i", f"{other.key}.pub", host, HOME=str(tmp_path))
    assert done.returncode != 0
    assert b"there is no use for ssh-copy-id here" in done.stderr
    assert not (world.web_1.home("deploy") / ".ssh/authorized_keys").exists()
