"""A boxed program as the target's end of a session: on a terminal, on pipes, slow readers, signals, every ending."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bastion.connectors.program import ProgramEnd, running
from bastion.transport.endpoint import HIGH_WATER
from recorder.events import (
    ErrorOutput,
    Event,
    Exited,
    Input,
    InputEnded,
    Killed,
    Output,
    OutputEnded,
    Resized,
    Signalled,
)
from tests.box.conversation import PATIENCE, TERMINAL, Psql
from tests.rig.process import RigError, descendants, is_running, wait_until

ROWS = "SELECT repeat('x', 1000) FROM generate_series(1, {count})"


async def everything(end: ProgramEnd) -> list[Event]:
    """All events until it is gone."""
    events: list[Event] = []
    async with asyncio.timeout(PATIENCE):
        while more := await end.receive():
            events += more
    return events


def text(events: list[Event], kind: type[Output] | type[ErrorOutput] = Output) -> str:
    return b"".join(event.data for event in events if isinstance(event, kind)).decode()


async def until(end: ProgramEnd, words: str, kind: type[Output | ErrorOutput] = Output) -> str:
    seen = ""
    async with asyncio.timeout(PATIENCE):
        while words not in seen:
            events = await end.receive()
            assert events, f"it ended before {words!r}: {seen[-500:]}"
            seen += text(events, kind)
    return seen


async def test_pipes_keep_the_streams_apart_and_tell_the_status_last(psql: Psql) -> None:
    async with psql.inside("-At", "-v", "ON_ERROR_STOP=1", pty=None) as conversation:
        end = conversation.end
        await end.deliver([Input(b"SELECT 'out';\nSELECT broken;\n"), InputEnded()])
        events = await everything(end)
    assert text(events) == "out\n"
    assert 'column "broken" does not exist' in text(events, ErrorOutput)
    assert events[-2:] == [OutputEnded(), Exited(3)]


async def test_terminal_has_the_size_of_the_clients_and_follows_it(psql: Psql) -> None:
    """psql wraps a wide value to the width of its terminal."""
    async with psql.inside("-P", "format=wrapped") as conversation:
        wide = "SELECT repeat('y', 150);"
        assert "y" * 90 in await conversation.ask(wide)
        await conversation.end.deliver([Resized(40, 10), Resized(60, 20)])
        narrow = await conversation.ask(wide)
        assert "y" * 50 in narrow
        assert "y" * 61 not in narrow


async def test_reader_that_stops_stops_the_program_and_costs_no_memory(psql: Psql) -> None:
    """40 MB wait in the program, and what the queue holds is bounded; nothing of it is lost."""
    async with psql.inside("-Atc", ROWS.format(count=40_000), pty=None) as conversation:
        end = conversation.end
        async with asyncio.timeout(PATIENCE):
            while not end._reading_paused:
                await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
        assert end._queued_bytes < 2 * HIGH_WATER
        assert end.exit is None
        events = await everything(end)
    assert len(text(events)) == 40_000 * 1001
    assert events[-1] == Exited(0)


async def test_program_that_does_not_read_makes_the_client_wait(psql: Psql) -> None:
    async with psql.inside("-c", "SELECT pg_sleep(60)", pty=None) as conversation:

        async def give() -> None:
            for _ in range(100):
                await conversation.end.deliver([Input(b"z" * 65536)])

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(give(), 0.2)


async def test_signal_to_interrupt_cancels_the_statement(psql: Psql) -> None:
    """Not on a terminal it ends the script, too, as it does anywhere."""
    async with psql.inside("-At", pty=None) as conversation:
        end = conversation.end
        await end.deliver([Input(b"DO $$ BEGIN RAISE NOTICE 'begun'; PERFORM pg_sleep(60); END $$;\n")])
        await until(end, "begun", ErrorOutput)  # the server is in the statement that is to be cancelled
        await end.deliver([Signalled("STOP"), Signalled("NO SUCH")])  # which nobody may send
        await end.deliver([Signalled("INT")])
        events = await everything(end)
    assert "canceling statement due to user request" in text(events, ErrorOutput)
    assert events[-1] == Exited(3)


async def test_signal_to_end_ends_the_box(psql: Psql) -> None:
    async with psql.inside() as conversation:
        await conversation.ask("SELECT 1;")
        await conversation.end.deliver([Signalled("TERM")])
        assert (await everything(conversation.end))[-1] == Killed("TERM")


async def test_everything_is_gone_with_the_session(psql: Psql) -> None:
    others = set(descendants(os.getpid()))
    async with psql.inside() as conversation:
        await conversation.ask("SELECT 1;")
        box = [pid for pid in descendants(os.getpid()) if pid not in others and is_running(pid)]
        assert len(box) >= 3  # bubblewrap, its init, psql
        await conversation.type("SELECT pg_sleep(60);\n")
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in box), "the box gone, and reaped")


def test_box_ends_when_the_bastion_is_killed(psql: Psql) -> None:
    script = f"""
import asyncio
from pathlib import Path
from tests.box.conversation import Psql

async def main():
    async with Psql(program=Path({str(psql.program)!r}), sockets=Path({str(psql.sockets)!r})).inside() as psql:
        await psql.ask("SELECT 1;")
        print("open", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        below = descendants(holder.pid)
        assert len(below) >= 3
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        wait_until(lambda: not any(map(is_running, below)), "the box gone with who made it")


async def test_program_that_cannot_be_started_is_an_error_and_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setenv("PATH", "/nowhere")
    for pty in (TERMINAL, None):
        with pytest.raises(FileNotFoundError):
            async with running(["true"], pty, descriptors=[]):
                raise RigError("it was started")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
