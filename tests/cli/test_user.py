from __future__ import annotations

import asyncio
import time

from bastion.state.locks import Lock
from bastion.state.store import State
from cli.user import user
from tests.cli.bastion_command import Command


def lock_of(run: Command, name: str) -> Lock | None:
    async def get() -> Lock | None:
        async with await State.open(run.config.state_file, create=False) as state:
            return await state.locks.get(name)

    return asyncio.run(get())


def test_a_user_is_locked_for_a_while_listed_and_unlocked(run: Command) -> None:
    done = run("user", "lock", "alice", "--reason", "lost laptop", "--for", "2h")
    assert done.out.startswith("Locked alice until 20")
    lock = lock_of(run, "alice")
    assert lock is not None
    assert lock.until is not None
    assert 7100 < lock.until - time.time() <= 7200
    (row,) = run("user", "locks", "--json").json
    assert (row["user"], row["reason"]) == ("alice", "lost laptop")
    assert "lost laptop" in run("user", "locks").out

    assert run("user", "unlock", "alice").out == "Unlocked alice.\n"
    assert lock_of(run, "alice") is None
    assert run("user", "unlock", "alice").status == 74
    events = [event["event"] for event in run("audit", "--event", "user", "--user", "alice", "--json").json]
    assert events == ["user.locked", "user.unlocked"]


def test_a_lock_without_an_end_holds_until_it_is_taken_off(run: Command) -> None:
    assert run("user", "lock", "alice", "--reason", "left").out == "Locked alice until unlocked.\n"
    lock = lock_of(run, "alice")
    assert lock is not None
    assert lock.until is None


def test_a_name_that_nobody_has_cannot_be_released(run: Command) -> None:
    done = run("user", "release", "alice")
    assert done.status == 74
    assert "belongs to nobody" in done.err


def test_a_released_name_can_be_taken_by_another_identity(run: Command) -> None:
    async def pin(subject: str) -> None:
        async with await State.open(run.config.state_file, create=False) as state:
            await state.identities.pin("https://idp.example", subject, "alice")

    asyncio.run(pin("1"))
    assert run("user", "release", "alice").status == 0
    asyncio.run(pin("2"))


def test_every_command_says_what_it_does() -> None:
    assert set(user.commands) == {"lock", "unlock", "locks", "release"}
    assert all(command.help for command in user.commands.values())
