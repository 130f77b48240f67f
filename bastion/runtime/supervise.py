"""The one place that starts tasks outside a TaskGroup.

A server must outlive each of its connections, so their tasks cannot share one TaskGroup: there one bad packet would
end everybody. A `Supervisor` owns such independent tasks. Each runs inside one error boundary that reports an
unexpected exception once, and `close()` ends them all within a deadline, so that none is left behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Supervisor:
    """Runs independent coroutines; *report* is told of an exception that one of them did not handle."""

    def __init__(self, report: Callable[[str, BaseException], None]) -> None:
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start *coroutine*; its task is kept until it ends."""
        if self._closing:
            coroutine.close()
            raise RuntimeError("the supervisor is closing")
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(task.get_name(), error)

    async def wait(self, timeout: float) -> bool:
        """Wait until no task is left; false if some are after *timeout* seconds."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        return not self._tasks

    async def close(self, timeout: float) -> None:
        """Refuse new tasks, cancel those that run, and wait at most *timeout* seconds for them."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await self.wait(timeout)
