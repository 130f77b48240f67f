"""Long recordings, which a process of its own looks through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recorder import search_index
from recorder.catalog import SessionRow
from recorder.events import Output
from recorder.feed import Feed
from recorder.header import Header
from recorder.names import SessionId
from recorder.seek_index import WORTH_KEEPING, read_kept
from recorder.store import Store
from tests.recorder.casts import KEY, STARTED
from tests.rig.process import descendants, running, wait_until

MINUTES_LONG = 40 << 20
"""Bytes of a recording that nobody has looked through in the time of a test."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "recordings", key=KEY)
    yield opened
    await opened.close()


@pytest.fixture
def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever derives something in this process fails."""

    def fail(_feed: Feed, row: SessionRow) -> None:
        raise AssertionError(f"{row.id} is entered here")

    for kind in Feed.__subclasses__():
        monkeypatch.setattr(kind, "_derive", fail)


async def record(store: Store, size: int) -> tuple[SessionId, Path]:
    recording = await store.begin(Header(started_at=STARTED, columns=80, rows=24, terminal="xterm"))
    piece = b"".join(b"a needle in line %d\r\n" % number for number in range(2000))
    for _ in range(0, size, len(piece)):
        await recording.append([Output(piece)])
    await recording.seal("exited", 0)
    return recording.id, recording.path


def looking() -> set[int]:
    """The processes of ours that look through recordings."""
    return set(running("-m recorder.look_through")) & set(descendants(os.getpid()))


def entered(store: Store) -> set[SessionId]:
    with closing(search_index.open_reading(store.folder)) as database:
        return search_index.known(database)


@pytest.mark.usefixtures("without_threads")
async def test_a_process_enters_text_and_key_points(store: Store) -> None:
    assert store.search is not None
    session, path = await record(store, WORTH_KEEPING + 1)
    await store.search.wait()
    await store.seek.wait()
    assert entered(store) == {session}
    assert read_kept(store.folder, session, path) is not None
    assert not looking()


async def test_the_process_ends_with_the_server(store: Store) -> None:
    await record(store, MINUTES_LONG)
    wait_until(lambda: len(looking()) == 2, "two processes")
    await store.close()
    assert not looking()
    assert entered(store) == set()


async def test_a_process_that_was_killed_is_told_of_and_holds_up_no_other(store: Store) -> None:
    assert store.search is not None
    with capture_logs() as logs:
        await record(store, MINUTES_LONG)
        wait_until(lambda: len(looking()) == 2, "two processes")
        for process in looking():
            os.kill(process, signal.SIGKILL)
        session, _ = await record(store, 1)
        await store.search.wait()
        await store.seek.wait()
    assert entered(store) == {session}
    told = sorted((line["event"], line["error"]) for line in logs if "error" in line)
    assert told == [("search.behind", "ended by signal 9"), ("seek.behind", "ended by signal 9")]


async def test_what_the_process_says_is_in_the_log(store: Store) -> None:
    session, path = await record(store, WORTH_KEEPING)
    await store.close()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(-2000, os.SEEK_END)
        file.write(b"\xff" * 10)
    (store.folder / search_index.FILE).unlink()
    store = await Store.open(store.folder, key=KEY)
    try:
        with capture_logs() as logs:
            await store.recover()
            assert store.search is not None
            await store.search.wait()
    finally:
        await store.close()
    damaged = [line for line in logs if line["event"] == "search.damaged-recording"]
    assert [(line["log_level"], line["session"]) for line in damaged] == [("warning", session)]


async def test_the_process_ends_with_whoever_started_it(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "recordings", key=KEY, is_searchable=False)
    session, path = await record(store, 1)
    await store.close()
    arguments = ["search", str(store.folder), session, str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "recorder.look_through", *arguments], stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0
    assert entered(store) == set()
