"""Lets a child process die by SIGKILL before any line of some code, so that a test can try each of them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Coroutine
from types import FrameType
from typing import Any


def forked(
    run: Callable[[], Coroutine[Any, Any, object]],
    step: int | None,
    *,
    files: tuple[str, ...],
    functions: Collection[str] | None = None,
) -> int:
    """Run *run* in a child; its exit status, negative for a signal.

    It is killed before the line of number *step* (None: not at all) among those of *files*, which are the ends of their
    paths, or of the *functions* in them that are named.
    """
    child = os.fork()
    if child == 0:
        if step is not None:
            _die_at(step, files, functions)
        asyncio.run(run())
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _die_at(step: int, files: tuple[str, ...], functions: Collection[str] | None) -> None:
    """In whatever thread the line is."""
    left = step

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        code = frame.f_code
        if not code.co_filename.endswith(files) or (functions is not None and code.co_name not in functions):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
