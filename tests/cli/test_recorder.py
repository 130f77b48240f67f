"""`bastion recorder`: the keys that recordings are signed with."""

from __future__ import annotations

from recorder.keys import SigningKey
from tests.cli.bastion_command import Command
from tests.cli.recorded import record


def test_after_a_rotation_old_and_new_recordings_verify(run: Command) -> None:
    record(run.config)
    old = SigningKey.load(run.config.recorder_key_file).id
    done = run("recorder", "rotate")
    new = SigningKey.load(run.config.recorder_key_file).id
    assert done.status == 0
    assert f"key {new} signs from now on, in the place of {old}" in done.out
    assert "BEGIN PUBLIC KEY" in done.out
    record(run.config)
    assert run("verify", "--all").out == "4 recordings: 4 unchanged, 0 not\n"
    listed = run("recorder", "keys", "--json").json
    assert [(key["id"], key["status"]) for key in listed] == [(new, "signs"), (old, "retired")]


def test_a_rotation_is_an_audit_event(run: Command) -> None:
    done = run("recorder", "rotate", "--json").json
    (event,) = run("audit", "--event", "recorder-key.rotated", "--json").json
    assert event["user"]
    assert (event["detail"]["new"], event["detail"]["old"]) == (done["new"], done["old"])


def test_without_a_key_the_error_says_what_to_do(run: Command) -> None:
    run.config.recorder_key_file.unlink()
    done = run("recorder", "rotate")
    assert done.status == 78
    assert "cannot be read" in done.err
