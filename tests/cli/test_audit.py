from __future__ import annotations

import asyncio
import time

import pytest

from bastion.state.store import State
from tests.cli.bastion_command import Command


@pytest.fixture
def busy(run: Command) -> Command:
    """Something happened two days ago, and something to a session just now."""

    async def record() -> None:
        for ago, event in ((172_800, "sign-in.refused"), (60, "session.started")):
            async with await State.open(run.config.state_file, lambda ago=ago: time.time() - ago) as state:  # type: ignore[misc]
                await state.audit.record(
                    event, user="al\x1bice", session="s1", client="192.0.2.7", why="\n", n=[1]
                )

    asyncio.run(record())
    return run


def events(run: Command, *arguments: str) -> list[str]:
    return [row["event"] for row in run("audit", "--json", *arguments).json]


def test_events_are_listed_and_chosen(busy: Command) -> None:
    assert events(busy) == ["bastion.initialised", "sign-in.refused", "session.started"]
    assert events(busy, "--since", "1d") == ["bastion.initialised", "session.started"]
    assert events(busy, "--event", "session") == ["session.started"]
    assert events(busy, "--session", "s1", "--limit", "1") == ["session.started"]
    assert events(busy, "--user", r"al\x1bice") == ["sign-in.refused", "session.started"]


def test_a_line_of_the_table_holds_all_there_is_to_an_event(busy: Command) -> None:
    line = busy("audit", "--event", "session").out.splitlines()[1]
    assert line.split("UTC")[1].split() == [
        "session.started", r"al\x1bice", "s1", "192.0.2.7", r"why=\n", "n=[1]",
    ]  # fmt: skip


def test_nothing_is_said_to_be_nothing(run: Command) -> None:
    assert run("audit", "--user", "nobody").err == "Nothing has happened.\n"
