"""`bastion retention` and `bastion hold`: what goes, what stays, and what is known of it afterwards."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from tests.cli.bastion_command import Command
from tests.cli.recorded import Recorded, record

RULES = """
[recording.retention]
automatic = false
[[recording.retention.rules]]
name = "short"
targets = ["web-*"]
keep = "1d"
at_least = "0s"
"""


@pytest.fixture
def recorded(run: Command) -> Recorded:
    return record(run.config)


@pytest.fixture
def ruled(run: Command, recorded: Recorded) -> Recorded:
    """Ada's session, of two days ago, is to go after one."""
    set_rules(run, RULES)
    return recorded


def set_rules(run: Command, rules: str) -> None:
    run.file.write_text(run.file.read_text() + rules)


def test_without_rules_nothing_is_removed(run: Command, recorded: Recorded) -> None:
    done = run("retention", "apply", "--yes")
    assert done.status == 0
    assert "There are no rules" in done.err
    assert recorded.ada_file.exists()


def test_the_plan_says_what_would_go_and_why_and_removes_nothing(run: Command, ruled: Recorded) -> None:
    shown = run("retention", "plan")
    heading, row = shown.out.splitlines()
    assert heading.split() == ["SESSION", "USER", "TARGET", "AGE", "SIZE", "RULE", "WHY"]
    assert row.split()[:4] == [ruled.ada, "ada", "web-1", "2d"]
    assert "short" in row and "2.0 days old; kept for 1.0 days" in row
    assert shown.err.startswith("1 recording to remove")
    data = run("retention", "plan", "--json").json
    assert [one["session"] for one in data["remove"]] == [ruled.ada]
    assert data["bytes"] == ruled.ada_file.stat().st_size
    assert ruled.ada_file.exists()


def test_apply_removes_it_everywhere_and_keeps_a_tombstone(run: Command, ruled: Recorded) -> None:
    assert run("index", "rebuild").status == 0
    size = ruled.ada_file.stat().st_size
    done = run("retention", "apply", "--yes")
    assert done.status == 0, done.err
    assert "Removed 1 recording" in done.out
    assert not ruled.ada_file.exists() and not ruled.ada_file.parent.exists()
    assert [row["id"] for row in run("sessions", "--json").json] == [ruled.bob]
    assert run("search", "hello").status == 1
    assert run("search", "bye").status == 0
    for file in run.config.recordings_folder.glob("search.db*"):
        assert b"hello" not in file.read_bytes()
    (stone,) = run("sessions", "--removed", "--json").json
    assert (stone["session"], stone["user"], stone["target"]) == (ruled.ada, "ada", "web-1")
    assert (stone["bytes"], stone["rule"], len(stone["chain"])) == (size, "short", 64)
    assert stone["removed_by"] and stone["started_at"]
    assert ruled.ada in run("sessions", "--removed").out
    assert run("sessions", "--removed", "--user", "bob", "--json").json == []
    (event,) = run("audit", "--event", "recording.removed", "--json").json
    assert (event["session"], event["user"]) == (ruled.ada, "ada")
    assert run("retention", "apply", "--yes").out == ""


def test_verify_tells_removed_from_missing(run: Command, ruled: Recorded) -> None:
    run("retention", "apply", "--yes")
    done = run("verify", "--all")
    assert done.status == 0
    assert done.out.startswith("1 recordings: 1 unchanged, 0 not; 1 more were removed on purpose")
    states = {one["id"]: one["state"] for one in run("verify", "--all", "--json").json}
    assert states == {ruled.ada: "removed", ruled.bob: "sealed"}
    (bob_file,) = run.config.recordings_folder.rglob(f"{ruled.bob}.cast")
    bob_file.unlink()
    done = run("verify", "--all")
    assert done.status == 1
    assert f"{ruled.bob}  MISSING" in done.out


def test_apply_asks_first(run: Command, ruled: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: "n")
    done = run("retention", "apply")
    assert done.status == 130
    assert ruled.ada_file.exists()


def test_what_is_held_stays_until_the_hold_is_lifted(run: Command, ruled: Recorded) -> None:
    made = run("hold", "add", "--user", "a*", "--reason", "court", "--case", "2026-17", "--json").json
    assert (made["id"], made["user"], made["case"]) == (1, "a*", "2026-17")
    shown = run("retention", "plan").out
    assert f"stays: hold {made['id']}: court (2026-17)" in shown
    assert run("retention", "apply", "--yes", "--json").json == {"removed": []}
    assert ruled.ada_file.exists()
    assert [row["id"] for row in run("sessions", "--held", "--json").json] == [ruled.ada]
    assert f"{ruled.ada} is kept by hold 1: court" in run("sessions").err
    assert "court" in run("hold", "list").out
    assert run("hold", "remove", "1").status == 0
    assert run("hold", "remove", "1").status != 0
    assert run("hold", "list", "--json").json == []
    assert run("hold", "list", "--all", "--json").json[0]["lifted_by"]
    events = [event["event"] for event in run("audit", "--event", "hold", "--json").json]
    assert events == ["hold.placed", "hold.lifted"]
    assert [one["session"] for one in run("retention", "apply", "--yes", "--json").json["removed"]] == [
        ruled.ada
    ]


def test_a_hold_of_one_session_takes_part_of_its_id(run: Command, ruled: Recorded) -> None:
    assert run("hold", "add", ruled.ada[-4:], "--reason", "court", "--json").json["session"] == ruled.ada
    assert run("retention", "apply", "--yes", "--json").json == {"removed": []}
    assert run("hold", "add", "nothing", "--reason", "court").status != 0
    assert "Name a session" in run("hold", "add", "--reason", "court").err


def test_what_cannot_be_deleted_is_told_and_tried_again(
    run: Command, ruled: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file that the disk does not let go of keeps no other from going."""
    unlink = Path.unlink

    def refuses(self: Path, missing_ok: bool = False) -> None:
        if self == ruled.ada_file:
            raise OSError(errno.EIO, "Input/output error", str(self))
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuses)
    set_rules(run, '[[recording.retention.rules]]\nname = "rest"\nkeep = "1s"\n')
    done = run("retention", "apply", "--yes", "--json")
    assert done.status == 1
    assert [one["session"] for one in done.json["removed"]] == [ruled.bob]
    assert "retention.not-deleted" in done.err
    monkeypatch.undo()
    assert ruled.ada_file.exists()
    assert "left 1 recording half removed" in run("retention", "plan").err
    done = run("retention", "apply", "--yes", "--json")
    assert (done.status, [one["session"] for one in done.json["removed"]]) == (0, [ruled.ada])
    assert not ruled.ada_file.exists()


def test_a_recording_without_a_seal_or_an_entry_stays(run: Command, ruled: Recorded) -> None:
    """It may be live, or tampered with: neither is for retention to hide."""
    (run.config.recordings_folder / "seals.log").unlink()
    data = run("retention", "apply", "--yes", "--json")
    assert data.json == {"removed": []}
    assert set(run("retention", "plan", "--json").json["not_in_the_chain"]) == {ruled.ada, ruled.bob}
    assert ruled.ada_file.exists()


def test_the_first_rule_that_fits_decides(run: Command, recorded: Recorded) -> None:
    first = '[[recording.retention.rules]]\nname = "forever"\nkinds = ["ssh"]\ntargets = ["web-1"]\n'
    set_rules(run, first + '[[recording.retention.rules]]\nname = "rest"\nkeep = "1s"\n')
    found = run("retention", "plan", "--json").json["remove"]
    assert [(one["session"], one["rule"]) for one in found] == [(recorded.bob, "rest")]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ('size = "many"', "size"),
        ('size = "0GB"', "write a size"),
        ("kep = 1", "Did you mean keep?"),
        ('keep = "forever"', "write a duration"),
    ],
)
def test_a_wrong_rule_is_explained(run: Command, rules: str, said: str) -> None:
    set_rules(run, f'[[recording.retention.rules]]\nname = "x"\n{rules}\n')
    done = run("check")
    assert done.status == 78
    assert said in done.out + done.err


def test_rules_after_one_for_everything_are_refused(run: Command) -> None:
    rule = '[[recording.retention.rules]]\nname = "{}"\nkeep = "1d"\n'
    set_rules(run, rule.format("all") + rule.format("more"))
    assert "put it last" in json.dumps([(done := run("check")).out, done.err])
