"""How commands work on the state of a bastion, which may be running meanwhile: open, do, close."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from getpass import getuser
from typing import TypeVar

from bastion.runtime.logs import configure_logs
from bastion.state.store import State
from cli.settings import Settings

T = TypeVar("T")


def with_state(settings: Settings, work: Callable[[State], Awaitable[T]]) -> T:
    """Do *work* on the state of the configured bastion, which must be there."""

    async def run() -> T:
        async with await State.open(settings.config.state_file, create=False) as state:
            return await work(state)

    configure_logs(level="warning")  # what a command did it says itself
    return asyncio.run(run())


def operator() -> str:
    """Who is at the keyboard, for the audit trail; behind sudo the person, not root."""
    return os.environ.get("SUDO_USER") or getuser()


def moment(seconds: float) -> str:
    """A time for people, in UTC as in everything we log."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
