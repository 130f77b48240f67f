"""A backup of a running bastion, put back elsewhere as docs/ops.md says: everything verifies, plays and stands."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.rig.bastion import Bastion
from tests.rig.world import World

RULE = """
[[recording.retention.rules]]
name = "staging"
labels = { env = "staging" }
keep = "1s"
[[recording.retention.rules]]
name = "production"
labels = { env = "prod*" }
keep = "1s"
"""


def ids(bastion: Bastion) -> dict[str, str]:
    """The sessions that `bastion sessions` lists, with how they ended."""
    return {row["id"]: row["ending"] for row in json.loads(bastion.run("sessions", "--json").text)}


def test_a_bastion_is_restored_elsewhere_from_a_backup_of_the_running_one(
    own_world: World, tmp_path: Path
) -> None:
    alice, bastion = own_world.certified("alice"), own_world.bastion
    assert alice.run("web-1@localhost", "echo first").status == 0
    assert bastion.run("hold", "add", "--user", "alice", "--reason", "court").status == 0
    copy = tmp_path / "backup"
    assert backup(bastion, copy)["recordings"] == 1
    assert bastion.run("recorder", "rotate").status == 0
    running = alice.popen("web-1@localhost", "echo begun; read line")
    assert running.stdout is not None and os.read(running.stdout.fileno(), 100) == b"begun\n"
    again = backup(bastion, copy)
    assert (again["recordings"], again["kept"]) == (1, 1)
    first, live = sorted(found := ids(bastion), key=lambda one: found[one] == "live")
    check_modes(copy)
    running.kill()
    running.communicate(timeout=20)
    bastion.stop()
    shutil.rmtree(own_world.data)

    place = tmp_path / "elsewhere"
    restored = restore(copy, place, own_world.data)
    with restored:
        assert ids(restored) == {first: "exited", live: "interrupted"}
        verified = restored.run("verify", "--all")
        assert verified.text == "2 recordings: 2 unchanged, 0 not\n", verified.errors
        assert "first" in restored.run("export", first, "--format", "text").text
        # Whoever had signed in still is: their certificate, and the host key they know, are those of the backup.
        assert restored.port == bastion.port
        done = alice.run("web-1@localhost", "echo restored")
        assert (done.status, done.stdout) == (0, b"restored\n"), done.errors
        events = json.loads(restored.run("audit", "--json").text)
        assert {"sign-in.accepted", "hold.placed", "recorder-key.rotated"} <= {one["event"] for one in events}
        # The labels that targets had stand in the recordings; the hold came along, so nothing of it goes.
        plan = json.loads(restored.run("retention", "plan", "--json").text)
        assert (plan["remove"], [one["rule"] for one in plan["held"]]) == ([], ["production"] * 3)


def backup(bastion: Bastion, folder: Path) -> dict[str, int]:
    done = bastion.run("backup", str(folder), "--json")
    assert done.status == 0, done.errors
    assert json.loads((folder / "backup.json").read_text())["finished_at"]
    return dict(json.loads(done.text))


def check_modes(folder: Path) -> None:
    """Nobody else can read any of it, but for public keys and certificates."""
    for file in folder.rglob("*"):
        if file.suffix not in (".pub", ".crt"):
            assert file.stat().st_mode & 0o077 == 0, file


def restore(copy: Path, place: Path, old_data: Path) -> Bastion:
    """Do what docs/ops.md says, with *place* for / and the folder of data in it."""
    shutil.copytree(copy, place / "data")
    shutil.copytree(copy / "config", place / "etc")
    config = place / "etc" / "bastion.toml"
    text = config.read_text()
    assert str(old_data) in text or 'data = "data"' in text
    lines = [
        f'data = "{place / "data"}"' if line.startswith("data = ") else line for line in text.splitlines()
    ]
    config.write_text("\n".join(lines) + RULE)
    return Bastion(config)
