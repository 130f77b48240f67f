"""The recorder's key is rotated while the bastion runs, and while a session does."""

from __future__ import annotations

import json
import os

from recorder.catalog import read_row
from recorder.reader import open_recording
from tests.rig.process import wait_until
from tests.rig.world import World


def test_new_sessions_get_the_new_key_and_all_of_them_verify(own_world: World) -> None:
    alice = own_world.certified("alice")
    assert alice.run("web-1@localhost", "echo before").status == 0
    running = alice.popen("web-1@localhost", "echo begun; read line; echo $line")
    assert running.stdin is not None and running.stdout is not None
    assert os.read(running.stdout.fileno(), 100) == b"begun\n"
    done = own_world.bastion.run("recorder", "rotate", "--json")
    assert done.status == 0, done.errors
    keys = json.loads(done.text)
    wait_until(lambda: "recorder-key.changed" in own_world.bastion.log, "the server takes the new key")
    assert alice.run("web-1@localhost", "echo after").status == 0
    out, _ = running.communicate(b"done\n", timeout=20)
    assert out == b"done\n"

    signed_by = []
    for path in own_world.recordings:
        with open_recording(path) as recording:
            signed_by.append(
                (read_row(path.parents[3], path).command.split()[1].strip(";"), recording.opening.key_id)
            )
    assert sorted(signed_by) == [("after", keys["new"]), ("before", keys["old"]), ("begun", keys["old"])]
    verified = own_world.bastion.run("verify", "--all")
    assert verified.text == "3 recordings: 3 unchanged, 0 not\n"
