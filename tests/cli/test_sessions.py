from __future__ import annotations

import json

import pytest

from tests.cli.bastion_command import Command
from tests.cli.recorded import Recorded, record


@pytest.fixture
def recorded(run: Command) -> Recorded:
    return record(run.config)


def listed(run: Command, *arguments: str) -> list[str]:
    return [row["id"] for row in run("sessions", "--json", *arguments).json]


def test_sessions_are_listed_newest_first_with_who_where_and_how_it_ended(
    run: Command, recorded: Recorded
) -> None:
    heading, first, second = run("sessions").out.splitlines()
    assert heading.split()[0] == "ID"
    assert first.split()[0] == recorded.bob and first.split()[-2:] == ["exited", "0"]
    assert second.split()[0] == recorded.ada and second.split()[-2:] == ["exited", "3"]
    assert "ada" in second and "dev" in second and "deploy@web-1" in second


def test_sessions_are_chosen(run: Command, recorded: Recorded) -> None:
    assert listed(run) == [recorded.bob, recorded.ada]
    assert listed(run, "--user", "ada") == [recorded.ada]
    assert listed(run, "--target", "web-1") == [recorded.ada]
    assert listed(run, "--since", "1d") == [recorded.bob]
    assert listed(run, "--since", "2001-01-01") == [recorded.bob, recorded.ada]
    assert listed(run, "--limit", "1") == [recorded.bob]
    assert listed(run, "--live") == []


def test_a_wrong_time_is_explained(run: Command) -> None:
    done = run("sessions", "--since", "yesterday")
    assert done.status == 2
    assert "2026-11-24" in done.err


def test_the_table_holds_no_control_character_and_json_escapes_them(run: Command, recorded: Recorded) -> None:
    assert "\x1b" not in run("sessions").out
    out = run("sessions", "--json").out
    assert "\x1b" not in out
    assert json.loads(out)[0]["target"] == "db\x1b[2J"


def test_a_record_holds_everything(run: Command, recorded: Recorded) -> None:
    row = run("sessions", "--json", "--user", "ada").json[0]
    assert (row["ending"], row["exit_status"], row["groups"], row["login"]) == (
        "exited",
        3,
        ["dev"],
        "deploy",
    )
    assert row["recording"] == str(recorded.ada_file)
    assert row["started_at"].endswith("+00:00")


def test_a_session_whose_server_died_is_not_called_live(run: Command, recorded: Recorded) -> None:
    """The file has no seal, and nobody is writing it."""
    lines = recorded.ada_file.read_bytes().splitlines(keepends=True)
    recorded.ada_file.write_bytes(b"".join(lines[:-1]))
    (run.config.recordings_folder / "index.db").unlink()
    assert run("sessions", "--json", "--user", "ada").json[0]["ending"] == "not sealed"
    assert listed(run, "--live") == []


def test_a_folder_that_is_not_there_is_explained(run: Command) -> None:
    folder = run.config.recordings_folder
    if folder.exists():
        folder.rmdir()
    done = run("sessions")
    assert done.status != 0
    assert "may not read it" in done.err and "Traceback" not in done.err
