"""Rules for files, met by the clients people use: one way only, some paths only, a shell and no copies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import need
from tests.clients.test_files import notes
from tests.rig.openssh import Client
from tests.rig.world import World

RULES = """
[[policy.rules]]
name = "dropbox"
groups = ["dev"]
targets = ["web-2"]
logins = ["deploy"]
actions = ["sftp"]

[policy.rules.files]
directions = ["upload"]

[[policy.rules]]
name = "exchange"
users = ["carol"]
targets = ["web-2"]
logins = ["deploy"]
actions = ["exec", "sftp"]

[policy.rules.files]
paths = ["exchange/*"]
"""


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """bob may only upload to web-2, carol only use the folder exchange there."""
    with World(tmp_path_factory.mktemp("world")) as world:
        world.configure(RULES)
        yield world


@pytest.fixture
def bob(ruled: World) -> Client:
    return ruled.certified("bob")


def sftp(client: Client, script: str) -> str:
    return client.run("-b", "-", "web-2@localhost", program="sftp", stdin=script.encode()).errors


def test_who_may_only_upload_is_told_so_by_each_client(bob: Client, ruled: World, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"data")
    home = ruled.web_2.home("deploy")
    assert sftp(bob, f"put {tmp_path}/f up\n") == ""
    assert (home / "up").read_bytes() == b"data"
    assert "Permission denied" in sftp(bob, f"get up {tmp_path}/back\n")
    assert any("open to read" in note and "permission denied" in note for note in notes(ruled.recordings[-1]))
    for program, *arguments in (("scp",), ("scp", "-O")):
        done = bob.run(*arguments, f"{tmp_path}/f", "web-2@localhost:again", program=program)
        assert (done.status, done.errors) == (0, "")
        done = bob.run(*arguments, "web-2@localhost:again", f"{tmp_path}/back", program=program)
        assert done.status
    assert "no rule lets you copy files from web-2" in done.errors
    assert not (tmp_path / "back").exists()
    rsync = ["-e", f"ssh -F {bob.config}", f"{tmp_path}/f"]
    need("rsync")
    assert subprocess.run(["rsync", *rsync, "web-2@localhost:synced"], timeout=20).returncode == 0
    down = ["rsync", *rsync[:2], "web-2@localhost:synced", f"{tmp_path}/back"]
    refused = subprocess.run(down, timeout=20, capture_output=True, text=True)
    assert "no rule lets you copy files from web-2" in refused.stderr
    secluded = subprocess.run(
        ["rsync", "-s", *rsync, "web-2@localhost:synced"], timeout=20, capture_output=True, text=True
    )
    assert "does not say which way" in secluded.stderr
    assert any("rsync upload" in note for recording in ruled.recordings for note in notes(recording))


def test_paths_that_rules_name_are_all_there_is(ruled: World, tmp_path: Path) -> None:
    carol = ruled.certified("carol")
    home = ruled.web_2.home("deploy")
    (home / "exchange").mkdir()
    (home / "secret").write_bytes(b"secret")
    (tmp_path / "f").write_bytes(b"data")
    assert carol.run(f"{tmp_path}/f", "web-2@localhost:exchange/f", program="scp").errors == ""
    assert (home / "exchange" / "f").read_bytes() == b"data"
    for path in ("secret", f"{home}/secret", "exchange/../secret"):
        assert "ermission denied" in carol.run(f"web-2@localhost:{path}", str(tmp_path), program="scp").errors
    refused = carol.run("-O", "web-2@localhost:exchange/f", str(tmp_path / "g"), program="scp")
    assert "scp without -O" in refused.errors
    assert carol.run("web-2@localhost", "echo fine").text == "fine\n"


def test_who_may_run_commands_and_no_sftp_copies_nothing_by_commands_that_copy(
    bob: Client, ruled: World
) -> None:
    world = ruled
    world.bastion.config.write_text(world.bastion.config.read_text().replace(RULES, ""))
    world.reload()
    refused = bob.run("-O", "web-2@localhost:up", "/dev/null", program="scp")
    assert "no rule lets you transfer files" in refused.errors
    assert bob.run("web-2@localhost", "echo fine").text == "fine\n"
