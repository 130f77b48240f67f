"""What the recording of a session says, for tests that compare it with what went through."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from recorder.reader import Sinks, rebuild_streams
from tests.rig.process import wait_until
from tests.rig.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The exact bytes of a recording."""

    output: bytes
    error: bytes
    input: bytes


def streams(path: Path) -> Streams:
    """Rebuild the bytes of the recording at *path*."""
    output, error, given = BytesIO(), BytesIO(), BytesIO()
    rebuild_streams(path, Sinks(output=output, error=error, input=given))
    return Streams(output=output.getvalue(), error=error.getvalue(), input=given.getvalue())


def rows(world: World) -> list[dict[str, Any]]:
    """What `bastion sessions` lists, the newest first."""
    done = world.bastion.run("sessions", "--json")
    assert done.status == 0, done.errors
    return list(json.loads(done.text))


def wait_for_ending(world: World, ending: str) -> dict[str, Any]:
    """The newest session, once it has ended so."""
    wait_until(lambda: bool(found := rows(world)) and found[0]["ending"] == ending, f"a session {ending}")
    return rows(world)[0]


def events(world: World, name: str) -> list[dict[str, Any]]:
    """The audit events of that name, the newest first."""
    done = world.bastion.run("audit", "--json")
    assert done.status == 0, done.errors
    found = [event for event in json.loads(done.text) if event["event"] == name]
    return sorted(found, key=lambda event: int(event["id"]), reverse=True)
