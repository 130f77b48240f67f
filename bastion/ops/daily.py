"""The retention of a running server: once a day what the rules say, if they are to be applied automatically.

What fails is logged, and tried again the next day; no session notices.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable

import structlog

from bastion.config.model import Config
from bastion.errors import BastionError
from bastion.ops.retention import apply, survey
from bastion.state.store import State
from recorder.errors import RecorderError
from recorder.index import Index

log = structlog.get_logger()

BY = "bastion"
"""Who removed it, in the chain of seals and in the audit trail."""
FIRST = 60.0
"""Seconds after the start, for a server that is started every day."""
EVERY = 86_400.0


async def apply_daily(
    config: Callable[[], Config],
    state: State,
    index: Index,
    *,
    now: Callable[[], float],
    first: float = FIRST,
    every: float = EVERY,
) -> None:
    """Apply the rules *first* seconds from now and then *every* so many, until it is cancelled."""
    await asyncio.sleep(first)
    while True:
        present = config()
        if present.recording.retention.automatic and present.recording.retention.rules:
            try:
                await _apply(present, state, index, now)
            except (BastionError, RecorderError, OSError, sqlite3.Error) as error:
                log.error("retention.failed", reason=str(error))
        await asyncio.sleep(every)


async def _apply(config: Config, state: State, index: Index, now: Callable[[], float]) -> None:
    found = await survey(config, state, now())
    done = [entry async for entry in apply(config, state, index, found, by=BY, now=now)]
    size = sum(entry.size or 0 for entry in done)
    for excess in found.plan.excesses:
        log.warning("retention.above-size", rule=excess.rule, bytes=excess.bytes)
    if done:
        await state.audit.record("retention.applied", user=BY, recordings=len(done), bytes=size)
    log.info("retention.applied", recordings=len(done), bytes=size, held=len(found.plan.held))
