"""One value that is fetched from elsewhere: kept for a while, and fetched by one caller at a time.

It knows neither what the value is nor where it comes from. A failed fetch is not kept, but everybody who was waiting
for it shares the failure instead of trying again one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from bastion.errors import BastionError

T = TypeVar("T")


class Cached(Generic[T]):
    """A fetched value with a *lifetime*; `newer` asks for another one, at most once in *spacing* (both seconds)."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[T]],
        *,
        lifetime: float,
        spacing: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._fetch = fetch
        self._lifetime = lifetime
        self._spacing = spacing
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._fetched_at = 0.0
        self._renewed_at: float | None = None
        self._failure: BastionError | None = None
        self._failures = 0

    async def get(self) -> T:
        """The value, fetched when there is none or it has outlived its lifetime."""
        failures = self._failures
        async with self._lock:
            if self._value is not None and self._monotonic() - self._fetched_at < self._lifetime:
                return self._value
            return await self._fetch_now(failures)

    async def newer(self, than: T) -> T:
        """A value fetched after *than*; *than* itself when such a fetch took place only just now."""
        failures = self._failures
        async with self._lock:
            if self._value is not None and self._value is not than:
                return self._value
            now = self._monotonic()
            if self._renewed_at is not None and now - self._renewed_at < self._spacing:
                return than
            self._renewed_at = now
            return await self._fetch_now(failures)

    async def _fetch_now(self, failures: int) -> T:
        if self._failure is not None and self._failures != failures:
            raise self._failure.with_traceback(None)  # it failed while we waited for our turn
        try:
            value = await self._fetch()
        except BastionError as error:
            self._failure = error
            self._failures += 1
            raise
        self._value, self._fetched_at, self._failure = value, self._monotonic(), None
        return value
