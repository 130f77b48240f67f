"""`bastion search` and `bastion index rebuild`."""

from __future__ import annotations

import pytest

from recorder.search_index import FILE
from tests.cli.bastion_command import Command
from tests.cli.recorded import Recorded, record


@pytest.fixture
def recorded(run: Command) -> Recorded:
    """The sessions of ada (hello) and bob (bye), with the index of their text made anew."""
    recorded = record(run.config)
    done = run("index", "rebuild")
    assert (done.status, done.out) == (0, "The index holds 2 ended sessions and their text.\n"), done.err
    return recorded


def test_each_hit_is_shown_with_the_command_that_replays_it(run: Command, recorded: Recorded) -> None:
    done = run("search", "ELL")
    assert done.status == 0
    title, hit = done.out.splitlines()
    assert title.startswith(recorded.ada)
    assert title.endswith("ada  deploy@web-1  exited 3")
    assert hit == f"  bastion play {recorded.ada} --at 0.1  h«ell»o"


def test_nothing_found_is_said_and_is_status_1(run: Command, recorded: Recorded) -> None:
    done = run("search", "nowhere")
    assert (done.status, done.out, done.err) == (1, "", "Nothing was found.\n")


def test_words_are_one_text_and_control_characters_of_data_are_not_printed(
    run: Command, recorded: Recorded
) -> None:
    assert run("search", "hello", "world").status == 1
    done = run("search", "bye")
    assert "\x1b" not in done.out
    assert "deploy@db" in done.out


@pytest.mark.parametrize(
    "narrow",
    [
        ("--user", "ada"), ("--target", "web-1"), ("--until", "1d"), ("--exit-status", "3"), ("--limit", "1"),
        ("--group", "dev"), ("--kind", "ssh"), ("--ending", "exited"), ("--since", "7d"),
    ],
)  # fmt: skip
def test_sessions_can_be_narrowed(run: Command, recorded: Recorded, narrow: tuple[str, str]) -> None:
    found = run("search", "e", *narrow, "--json").json
    assert {one["id"] for one in found} - {recorded.bob} <= {recorded.ada}
    assert found
    if narrow[0] in ("--user", "--target", "--until", "--exit-status"):
        assert [one["id"] for one in found] == [recorded.ada]
    if narrow[0] == "--limit":
        assert [one["id"] for one in found] == [recorded.bob]


def test_json_says_where_in_the_line_and_when(run: Command, recorded: Recorded) -> None:
    (found,) = run("search", "hello", "--json").json
    (hit,) = found["hits"]
    assert (hit["text"], hit["start"], hit["end"], hit["part"]) == ("hello", 0, 5, "output")
    assert hit["time"] <= hit["at"] < 1
    assert found["recording"].endswith(f"{recorded.ada}.cast")
    assert run("search", "hello", "--input", "--json").json == []


def test_a_search_is_an_audit_event_that_says_who_and_what(run: Command, recorded: Recorded) -> None:
    run("search", "hello", "--user", "ada")
    (event,) = run("audit", "--event", "recording.searched", "--json").json
    assert event["user"]
    assert event["detail"]["text"] == "hello"
    assert event["detail"]["narrowed"]["user"] == "ada"


def test_without_an_index_the_error_says_how_to_get_one(run: Command, recorded: Recorded) -> None:
    (run.config.recordings_folder / FILE).unlink()
    done = run("search", "hello")
    assert done.status == 70
    assert "bastion index rebuild" in done.err


def test_a_damaged_index_is_an_error_and_can_be_rebuilt(run: Command, recorded: Recorded) -> None:
    (run.config.recordings_folder / FILE).write_bytes(b"garbage" * 1000)
    done = run("search", "hello")
    assert done.status == 70
    assert "damaged" in done.err
    assert run("index", "rebuild", "--json").json == {"sessions": 2, "is_searchable": True, "broken": []}
    assert run("search", "hello").status == 0


def test_with_the_setting_off_rebuild_leaves_no_text(run: Command, recorded: Recorded) -> None:
    run.file.write_text(run.file.read_text() + "\n[recording]\nsearch = false\n")
    done = run("index", "rebuild")
    assert done.out == "The index holds 2 ended sessions without their text ([recording] search = false).\n"
    assert not (run.config.recordings_folder / FILE).exists()
