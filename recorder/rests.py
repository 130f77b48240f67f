"""Work in a thread beside the event loop that leaves the sessions most of the interpreter.

A thread holds it whenever it runs Python, and each key of each session waits for whoever holds it. So it rests.
"""

from __future__ import annotations

import threading
import time

EVERY = 0.005
"""Seconds of work after which the thread rests."""
FACTOR = 4
"""How many times as long as it worked it rests."""


class Rests:
    """Called again and again by one thread while it works: rests when it is time, and says whether to stop for good."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._is_hurried = False
        self._rested_at = time.monotonic()

    def begin(self) -> None:
        """Work begins now: what went before it was none."""
        self._rested_at = time.monotonic()

    def __call__(self) -> bool:
        worked = time.monotonic() - self._rested_at
        if worked >= EVERY and not self._is_hurried:
            self._stopping.wait(worked * FACTOR)
            self._rested_at = time.monotonic()
        return self._stopping.is_set()

    def hurry(self) -> None:
        """Rest no more: there are no sessions left to work for."""
        self._is_hurried = True

    def stop(self) -> None:
        """Have the thread stop for good."""
        self._stopping.set()

    def is_stopped(self) -> bool:
        return self._stopping.is_set()
