"""Threads that wait for the disk of recordings, apart from those that the rest of the process shares.

asyncio's own pool has a handful of threads, and looks up names with them: a few calls that a disk does not answer would
stop every sign-in. Whoever waits here waits for that disk and holds up nobody else; readers do not wait for writers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8
_WRITING = ThreadPoolExecutor(THREADS, thread_name_prefix="recordings-write")
_READING = ThreadPoolExecutor(THREADS, thread_name_prefix="recordings-read")


async def writing(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What *step* returns, which makes, changes or deletes something among the recordings."""
    return await _in(_WRITING, step, *args, **kwargs)


async def reading(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What *step* returns, which only reads what is recorded."""
    return await _in(_READING, step, *args, **kwargs)


async def _in(threads: ThreadPoolExecutor, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    context = copy_context()  # what the log knows of whoever asks
    return await asyncio.get_running_loop().run_in_executor(
        threads, lambda: context.run(step, *args, **kwargs)
    )
