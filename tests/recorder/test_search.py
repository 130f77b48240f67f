"""Finding text in recordings: what is found, in which sessions, and that the index can be lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from recorder import search_index
from recorder.catalog import SessionRow
from recorder.errors import RecorderError
from recorder.events import ErrorOutput, Event, Exited, Happened, Input, Output
from recorder.header import Header
from recorder.index import Filter
from recorder.names import SessionId
from recorder.search import Found, Query, search
from recorder.search_feed import rebuild_text
from recorder.search_lines import TextLine
from recorder.store import Store
from tests.recorder.casts import KEY, STARTED


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[Store]:
    store = await Store.open(folder, key=KEY)
    try:
        yield store
    finally:
        await store.close()


async def record(
    store: Store,
    *events: Event,
    user: str = "alice",
    target: str = "web-1",
    terminal: str | None = "xterm",
    command: str = "",
    at: float = STARTED,
    status: int = 0,
) -> SessionId:
    facts: dict[str, str | list[str]] = {"user": user, "target": target, "kind": "ssh", "command": command}
    recording = await store.begin(Header(started_at=at, columns=80, rows=24, terminal=terminal, facts=facts))
    await recording.append([*events, Exited(status)])
    await recording.seal("exited", status)
    return recording.id


async def found(store: Store, query: Query | str) -> list[Found]:
    assert store.search is not None
    await store.search.wait()
    asked = Query(text=query) if isinstance(query, str) else query
    return [one async for one in search(store.index, asked)]


async def ids(store: Store, query: Query | str) -> list[SessionId]:
    return [one.row.id for one in await found(store, query)]


@pytest.mark.parametrize(
    "text",
    [
        "/etc/ssh/sshd_config", "10.20.30.40", "db-7.example.com", "ssh/ss", "PERMITROOTLOGIN", "%_*?[a](b)\\d",
        'say "hi" \'there\'', "AND OR NOT", "日本", "日本語", "é", "x", "0/2", "-v --force", "NEAR(a b)",
    ],
)  # fmt: skip
async def test_any_piece_of_a_line_is_found_as_it_stands(store: Store, text: str) -> None:
    output = (
        "PermitRootLogin /etc/ssh/sshd_config\r\nfrom 10.20.30.40 at db-7.example.com\r\n%_*?[a](b)\\d\r\n"
        "say \"hi\" 'there'\r\nand or not AND OR NOT\r\n日本語 café x 0/24\r\nrm -v --force NEAR(a b)\r\n"
    )
    session = await record(store, Output(output.encode()))
    await record(store, Output(b"....\r\n"))
    (only,) = await found(store, text)
    assert only.row.id == session
    (hit, *_) = only.hits
    assert hit.text[hit.start : hit.end].lower() == text.lower()


@pytest.mark.parametrize(
    "text", ["etc/sshd", "10.20.30.4 ", "a%b", "nothing", "qq", "q", "\n", "line\nother"]
)
async def test_what_no_line_holds_is_not_found(store: Store, text: str) -> None:
    await record(store, Output(b"/etc/ssh/sshd_config 10.20.30.40 axb\r\nline\r\nother\r\n"))
    assert await ids(store, text) == []


async def test_output_stderr_typed_lines_stdin_and_the_command_are_searched(store: Store) -> None:
    shell = await record(store, Input(b"sudo rebooot\x7f\x7ft"), Input(b"\r"), Output(b"going down\r\n"))
    piped = await record(
        store,
        Input(b"first\nstdin-line\n"),
        ErrorOutput(b"no such file\n"),
        Output(b"\x00\xff\xfe"),
        terminal=None,
        command="psql -h db-7",
        at=STARTED + 1,
    )
    assert await ids(store, "sudo reboot") == [shell]
    assert await ids(store, "stdin-line") == [piped]
    assert await ids(store, "no such file") == [piped]
    assert await ids(store, Query(text="psql -h", part="input")) == [piped]
    assert await ids(store, Query(text="sudo reboot", part="output")) == []
    assert await ids(store, Query(text="going down", part="input")) == []
    assert await ids(store, Query(text="re", part="input")) == [shell]


async def test_what_happened_is_found_by_itself_with_its_particulars(store: Store) -> None:
    """Statements of a database are one part, requests to a cluster another, and what was shown a third."""
    sql = await record(
        store,
        Output(b"orders=> shown only\r\n"),
        Happened("sql", "SELECT *\n  FROM payments WHERE id = $1", {"$1": "4711", "rows": 3, "error": None}),
        Happened("sql", "INSERT INTO t VALUES ('" + "x" * 9000 + "needle')"),
    )
    request = await record(
        store,
        Happened("request", "delete pods/api-1 -n payments", {"id": 1}),
        Happened("end", "delete pods/api-1 -n payments: 403", {"id": 1, "status": 403}),
        Happened("end", "of nothing", {"id": 2}),
    )
    await record(store, Happened("something else", "payments"))
    (one,) = await found(store, Query(text="from payments where", part="sql"))
    assert (one.row.id, one.hits[0].part) == (sql, "sql")
    assert one.hits[0].text == "SELECT * FROM payments WHERE id = $1  [$1=4711, rows=3]"
    assert await ids(store, Query(text="$1=4711", part="sql")) == [sql]
    assert await ids(store, Query(text="needle", part="sql")) == [sql]
    assert await ids(store, Query(text="shown only", part="sql")) == []
    assert await ids(store, Query(text="payments", part="request")) == [request]
    assert await ids(store, Query(text="status=403", part="request")) == [request]
    assert await ids(store, "of nothing") == []
    assert sorted(await ids(store, "payments")) == sorted([sql, request])


async def test_a_hit_says_when_in_the_session_it_was(folder: Path) -> None:
    time = 0.0
    store = await Store.open(folder, key=KEY, monotonic=lambda: time)
    try:
        recording = await store.begin(Header(started_at=STARTED, columns=80, rows=24, terminal="xterm"))
        for time in (1.0, 61.5, 125.25):
            await recording.append([Output(f"tick at {time}\r\n".encode())])
        await recording.seal("exited", 0)
        (only,) = await found(store, "tick at 61.5")
        assert [hit.time for hit in only.hits] == [61.5]
        (only,) = await found(store, Query(text="tick", most_hits=2))
        assert [hit.time for hit in only.hits] == [1.0, 61.5]
        assert only.has_more
    finally:
        await store.close()


async def test_sessions_are_narrowed_and_come_newest_first(store: Store) -> None:
    old = await record(store, Output(b"needle\r\n"), user="alice", target="web-1", at=STARTED)
    new = await record(store, Output(b"needle\r\n"), user="bob", target="db-1", at=STARTED + 100, status=2)
    narrow = {
        Filter(): [new, old],
        Filter(user="alice"): [old],
        Filter(target="db-1"): [new],
        Filter(since=STARTED + 50): [new],
        Filter(until=STARTED + 50): [old],
        Filter(exit_status=2): [new],
        Filter(ending="killed"): [],
        Filter(limit=1): [new],
    }
    for filter_, expected in narrow.items():
        assert await ids(store, Query(text="needle", narrow=filter_)) == expected


async def test_what_the_caller_may_not_see_takes_no_place_among_the_results(store: Store) -> None:
    mine = await record(store, Output(b"needle\r\n"), user="alice", at=STARTED)
    for number in range(120):
        await record(store, Output(b"needle\r\n"), user="bob", at=STARTED + 1 + number)
    assert store.search is not None
    await store.search.wait()

    def accept(row: SessionRow) -> bool:
        return row.user == "alice"

    query = Query(text="needle", narrow=Filter(limit=1))
    assert [one.row.id async for one in search(store.index, query, accept)] == [mine]


async def test_the_index_can_be_lost_damaged_or_of_another_version(folder: Path) -> None:
    async with _opened(folder) as store:
        session = await record(store, Output(b"needle\r\n"))
        assert await ids(store, "needle") == [session]

    def damage(kind: str) -> None:
        file = folder / search_index.FILE
        if kind == "lost":
            file.unlink()
        elif kind == "no database":
            file.write_bytes(b"garbage" * 1000)
        else:
            with sqlite3.connect(file) as database:
                database.execute("PRAGMA user_version = 99")
            database.close()

    for kind in ("lost", "no database", "other version"):
        damage(kind)
        async with _opened(folder) as store:
            await store.recover()
            assert await ids(store, "needle") == [session], kind


async def test_a_recording_that_was_half_entered_is_entered_again_and_one_that_is_gone_is_forgotten(
    folder: Path,
) -> None:
    async with _opened(folder) as store:
        half = await record(store, Output(b"needle\r\n"))
        gone = await record(store, Output(b"needle\r\n"), at=STARTED + 1)
        await ids(store, "needle")

    def lines() -> Iterator[TextLine]:
        yield TextLine("output", 0.0, "other")
        raise OSError("the disk failed")

    database = search_index.open_writing(folder)
    with pytest.raises(OSError, match="disk failed"):
        search_index.enter(database, half, lines())
    database.close()
    (path,) = folder.rglob(f"{gone}.cast")
    path.unlink()
    async with _opened(folder) as store:
        await store.index.rebuild()
        await store.recover()
        assert await ids(store, "needle") == [half]
        assert await ids(store, "other") == []
        with closing(search_index.open_reading(folder)) as reading:
            assert search_index.known(reading) == {half}
            assert reading.execute("SELECT count(*) FROM blocks").fetchone() == (1,)


async def test_no_text_is_kept_where_it_is_not_wanted(folder: Path) -> None:
    async with _opened(folder) as store:
        await record(store, Output(b"needle\r\n"))
        await ids(store, "needle")
    store = await Store.open(folder, key=KEY, is_searchable=False)
    try:
        await record(store, Output(b"needle\r\n"), at=STARTED + 1)
        await store.recover()
        assert not any(b"needle" in path.read_bytes() for path in folder.glob("search*"))
        with pytest.raises(RecorderError, match="no index of the text"):
            _ = [one async for one in search(store.index, Query(text="needle"))]
    finally:
        await store.close()


async def test_rebuilding_tells_how_far_it_is(store: Store, folder: Path) -> None:
    sessions = [await record(store, Output(b"needle\r\n"), at=STARTED + number) for number in range(3)]
    rows = await store.index.list()
    done = await asyncio.to_thread(lambda: [row.id for row in rebuild_text(folder, rows)])
    assert sorted(done) == sorted(sessions)
    assert len(await ids(store, "needle")) == 3


async def test_the_text_is_private(store: Store, folder: Path) -> None:
    await record(store, Output(b"needle\r\n"))
    await ids(store, "needle")
    assert {path.stat().st_mode & 0o077 for path in folder.glob("search*")} == {0}


async def test_closing_does_not_wait_for_a_long_recording(folder: Path) -> None:
    """What was not entered by then is entered at the next start."""
    store = await Store.open(folder, key=KEY)
    recording = await store.begin(Header(started_at=STARTED, columns=80, rows=24, terminal="xterm"))
    for number in range(200):
        await recording.append([Output(f"line {number} {at}\r\n".encode()) for at in range(100)])
    await recording.seal("exited", 0)
    await store.close()
    async with _opened(folder) as store:
        await store.recover()
        assert await ids(store, "line 199 99") == [recording.id]


async def test_closing_does_not_wait_for_a_command_that_makes_the_index_anew(folder: Path) -> None:
    async with _opened(folder) as store:
        with search_index.only_writer(folder):
            session = await record(store, Output(b"needle\r\n"))
            await store.close()
    async with _opened(folder) as store:
        await store.recover()
        assert await ids(store, "needle") == [session]
