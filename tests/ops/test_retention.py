"""Retention in the running server, and removals that are cut short anywhere."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bastion.config.model import Config
from bastion.ops.daily import apply_daily
from bastion.ops.retention import apply, survey
from bastion.state.store import State
from recorder.index import Index
from recorder.removal import only_remover
from tests.cli.bastion_command import Command, restored_logging
from tests.cli.recorded import Recorded, record

RULE = '\n[[recording.retention.rules]]\nname = "short"\ntargets = ["web-*"]\nkeep = "1d"\n'
STRIDE = 23
"""Lines between one death and the next; with 2 it takes a minute, and finds no more."""


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    command = Command(tmp_path / "bastion", capsys)
    command.folder.mkdir()
    with restored_logging():
        command.init()
    command.file.write_text(command.file.read_text() + RULE)
    return command


@pytest.fixture
def recorded(run: Command) -> Recorded:
    """Ada's session is to go, and bob's to stay."""
    return record(run.config)


@asynccontextmanager
async def opened(run: Command) -> AsyncIterator[tuple[State, Index]]:
    async with await State.open(run.config.state_file) as state:
        index = await Index.open(run.config.recordings_folder)
        try:
            yield state, index
        finally:
            await index.close()


@pytest.mark.parametrize("is_automatic", [True, False])
async def test_a_running_server_removes_once_a_day_unless_told_not_to(
    run: Command, recorded: Recorded, is_automatic: bool
) -> None:
    if not is_automatic:
        run.file.write_text(run.file.read_text() + "\n[recording.retention]\nautomatic = false\n")
    turns = 0

    def config() -> Config:
        nonlocal turns
        turns += 1
        return run.config

    async with opened(run) as (state, index):
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(apply_daily(config, state, index, now=time.time, first=0, every=0.01))
            while turns < 3:
                await asyncio.sleep(0.01)
            task.cancel()
        assert recorded.ada_file.exists() is not is_automatic
        events = await state.audit.list(event="recording.removed")
        assert [(event.session, event.detail["by"]) for event in events] == (
            [(recorded.ada, "bastion")] if is_automatic else []
        )
        assert len(await state.audit.list(event="retention.applied")) == int(is_automatic)


async def test_two_processes_do_not_remove_at_once(run: Command, recorded: Recorded) -> None:
    async with opened(run) as (state, index):
        found = await survey(run.config, state, time.time())
        with only_remover(run.config.recordings_folder) as is_ours:
            assert is_ours
            with pytest.raises(Exception, match="Another process is removing"):
                [one async for one in apply(run.config, state, index, found, by="x", now=time.time)]
    assert recorded.ada_file.exists()


async def test_a_hold_placed_after_the_plan_was_made_is_kept(run: Command, recorded: Recorded) -> None:
    async with opened(run) as (state, index):
        found = await survey(run.config, state, time.time())
        assert len(found.plan.removals) == 1
        await state.holds.place(reason="court", by="root", target="web-1")
        assert [one async for one in apply(run.config, state, index, found, by="x", now=time.time)] == []
    assert recorded.ada_file.exists()


def test_a_removal_killed_anywhere_loses_nothing_and_the_next_run_finishes(
    run: Command, recorded: Recorded, tmp_path: Path
) -> None:
    """At each place the recording is whole, or its removal stands in the chain; never is it missing."""
    assert run("index", "rebuild").status == 0
    program = Path(__file__).with_name("killed_removal.py")
    arguments = [str(run.folder), str(tmp_path / "work"), str(STRIDE)]
    done = subprocess.run(
        [sys.executable, program, *arguments],
        capture_output=True,
        timeout=50,
        check=False,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr.decode()
    deaths = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(deaths) > 20
    assert deaths[-1]["status"] == 0
    assert {death["status"] for death in deaths[:-1]} == {-9}
    seen = set()
    for death in deaths:
        died, after = death["died"], death["after"]
        assert died["bad"] == after["bad"] == [], death
        assert (recorded.ada in died["files"]) is not (recorded.ada in died["removed"]), death
        assert recorded.bob in died["files"]
        assert death["finished"] == 0
        assert (after["files"], after["removed"]) == ([recorded.bob], [recorded.ada]), death
        assert after["indexed"] == after["texts"] == [recorded.bob], death
        seen.add(
            (recorded.ada in died["files"], recorded.ada in died["indexed"], recorded.ada in died["texts"])
        )
    assert {(True, True, True), (False, False, True), (False, False, False)} <= seen
