"""Recorded sessions for the commands that list, replay and verify them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bastion.config.model import Config
from recorder.events import Event, Exited, Output
from recorder.header import Header
from recorder.keys import SigningKey
from recorder.names import SessionId
from recorder.store import Store

DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was recorded: a session of ada's two days ago, and one of bob's just now."""

    ada: SessionId
    bob: SessionId
    ada_file: Path


def record(config: Config) -> Recorded:
    """Record both with the store and the keys of the bastion that *config* describes."""
    return asyncio.run(_record(config))


async def _record(config: Config) -> Recorded:
    key = SigningKey.load(config.recorder_key_file)
    config.recordings_folder.mkdir(mode=0o700, exist_ok=True)
    now = time.time()
    ada = await _session(
        config, key, now - 2 * DAY, "ada", "web-1", [Output(b"\x1b]0;t\x07hello\r\n"), Exited(3)], 3
    )
    bob = await _session(config, key, now - 60, "bob", "db\x1b[2J", [Output(b"bye\r\n"), Exited(0)], 0)
    (file,) = config.recordings_folder.rglob(f"{ada}.cast")
    return Recorded(ada=ada, bob=bob, ada_file=file)


async def _session(
    config: Config, key: SigningKey, at: float, user: str, target: str, events: Sequence[Event], status: int
) -> SessionId:
    store = await Store.open(config.recordings_folder, key=key, now=lambda: at)
    try:
        facts: dict[str, str | list[str]] = {
            "user": user,
            "groups": ["dev"],
            "target": target,
            "login": "deploy",
            "kind": "ssh",
            "action": "exec",
            "command": f"greet {user}",
        }
        recording = await store.begin(
            Header(started_at=at, columns=80, rows=24, terminal="xterm", facts=facts)
        )
        await recording.append(events)
        await recording.seal("exited", status)
        return recording.id
    finally:
        await store.close()
