"""The audit trail: append-only, bounded, printable, without secrets, and logged."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bastion.runtime.secrets import Secret
from bastion.state.audit import LONGEST_TEXT, MOST_ITEMS
from bastion.state.store import State
from tests.state.samples import START, Clock


async def test_an_event_is_stored_and_logged(state: State) -> None:
    with capture_logs() as logs:
        await state.audit.record(
            "sign-in.accepted", user="alice", client="192.0.2.7", groups=["sre"], level=3
        )
    (event,) = await state.audit.list()
    assert (event.time, event.event, event.user, event.session, event.client) == (
        START, "sign-in.accepted", "alice", None, "192.0.2.7",
    )  # fmt: skip
    assert event.detail == {"groups": ["sre"], "level": 3}
    assert logs == [
        {
            "event": "audit",
            "audit": "sign-in.accepted",
            "user": "alice",
            "client": "192.0.2.7",
            "detail": {"groups": ["sre"], "level": 3},
            "log_level": "info",
        }
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET event = 'nothing.happened'",
        "DELETE FROM audit_events",
        "INSERT OR REPLACE INTO audit_events SELECT id, time, 'nothing.happened', user, session, client, detail"
        " FROM audit_events",
    ],
)
async def test_events_cannot_be_changed_or_removed(state: State, path: Path, statement: str) -> None:
    await state.audit.record("sign-in.accepted", user="alice")
    raw = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="audit events cannot be"):
        raw.execute(statement)
    raw.close()


async def test_what_a_stranger_wrote_is_printable_and_bounded(state: State) -> None:
    await state.audit.record(
        "session.refused",
        user="\x1b[2Jroot",
        text="x" * 5000,
        many=list(range(1000)),
        deep={"\n": ["\u202e", None]},
    )
    (event,) = await state.audit.list()
    assert event.user == r"\x1b[2Jroot"
    assert event.detail["text"] == "x" * (LONGEST_TEXT - 1) + "…"
    assert event.detail["many"] == list(range(MOST_ITEMS))
    assert event.detail["deep"] == {r"\n": [r"\u202e", None]}


async def test_a_text_of_nothing_but_control_characters_is_bounded_too(state: State) -> None:
    await state.audit.record("session.refused", text="\x00" * 5000)
    (event,) = await state.audit.list()
    assert len(str(event.detail["text"])) == LONGEST_TEXT


async def test_no_secret_is_stored(state: State, path: Path) -> None:
    with capture_logs() as logs:
        await state.audit.record(
            "test.happened", id_token="hunter2", deep=[{"password": "hunter2"}], s=Secret("hunter2")
        )
    (event,) = await state.audit.list()
    assert "hunter2" not in json.dumps(event.detail) + repr(logs)
    assert event.detail == {"id_token": "***", "deep": [{"password": "***"}], "s": "***"}


@pytest.mark.parametrize("name", ["", "signin", "Sign.in", "a.b\n", "a..b"])
async def test_a_name_that_is_none_is_a_mistake_of_the_caller(state: State, name: str) -> None:
    with pytest.raises(ValueError, match="no event name"):
        await state.audit.record(name)


async def test_events_are_chosen_by_user_kind_session_and_time_and_the_latest_come_last(
    state: State, clock: Clock
) -> None:
    for event, user, session in (
        ("sign-in.accepted", "alice", None),
        ("session.started", "alice", "s1"),
        ("sign-in.refused", "bob", None),
        ("session.started", "bob", "s2"),
        ("session-like.thing", None, None),
    ):
        await state.audit.record(event, user=user, session=session)
        clock.advance(seconds=1)

    async def ids(**filters: object) -> list[int]:
        return [found.id for found in await state.audit.list(**filters)]  # type: ignore[arg-type]

    assert await ids() == [1, 2, 3, 4, 5]
    assert await ids(limit=2) == [4, 5]
    assert await ids(user="alice") == [1, 2]
    assert await ids(event="session") == [2, 4]
    assert await ids(event="sign-in.refused") == [3]
    assert await ids(session="s2") == [4]
    assert await ids(since=START + 3) == [4, 5]
