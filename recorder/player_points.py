"""The key points a replay goes by: those that were kept, or those that a thread finds while the recording plays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recorder.at_rest import Identity, open_plain
from recorder.player_status import told_instead
from recorder.rests import Rests
from recorder.seek_index import Kept
from recorder.seek_points import KeyPoints, Leg, Note
from recorder.seek_scan import Scan

AT_ONCE = 1 << 20
"""Bytes of a recording that is scanned before it plays: that takes no time."""


class PlayerPoints:
    """Of the recording at *path*; *kept* are those of an index. *is_gentle* leaves the interpreter to others."""

    def __init__(
        self, path: Path, kept: Kept | None, identities: Sequence[Identity] = (), *, is_gentle: bool
    ) -> None:
        self._path = path
        self._identities = identities
        self._kept = kept
        self._rests = Rests()
        if not is_gentle:
            self._rests.hurry()
        self._scan: Scan | None = None
        self._size = max(path.stat().st_size, 1)

    async def run(self, changed: Callable[[], None]) -> None:
        """Find what is not known, beside the replay; *changed* is called at the end."""
        if self._kept is not None:
            return
        with ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="key-points"
        ) as thread:  # it may take minutes
            try:
                await asyncio.get_running_loop().run_in_executor(thread, self._run)
            finally:
                self._rests.stop()
        changed()

    def prepare(self) -> None:
        """Find all of it now, if that takes no time. Blocking."""
        if self._kept is None and self._size <= AT_ONCE:
            self._run()

    def stop(self) -> None:
        self._rests.stop()

    def _run(self) -> None:
        if self._scan is not None:
            return
        self._rests.begin()
        try:
            with open_plain(self._path, self._identities) as file:
                self._scan = Scan(file)
                self._scan.run(self._rests)
        except OSError:  # encrypted or removed just now; what plays it holds it open, and goes on without
            self._kept = Kept(0, 0, True, {}, KeyPoints())

    @property
    def is_whole(self) -> bool:
        """Whether all that can be known is known."""
        return self._whole is not None

    @property
    def _whole(self) -> Kept | Scan | None:
        return self._kept or (self._scan if self._scan is not None and self._scan.is_over else None)

    @property
    def largest(self) -> tuple[int, int] | None:
        """The largest columns and rows the recording had, if that is known."""
        found = self._whole
        return None if found is None else (found.columns, found.rows)

    @property
    def silent(self) -> list[str]:
        """What to say of a recording that shows nothing, once that is known; else nothing."""
        found = self._whole
        if found is None or found.has_output:
            return []
        return told_instead(found.happened, len(found.points.notes))

    @property
    def part(self) -> float:
        """How much of the recording has been looked through, from 0 to 1."""
        return 1.0 if self.is_whole else self._scan.read / self._size if self._scan else 0.0

    def covers(self, time: float) -> bool:
        """Whether it is known how to get to *time* best."""
        return self._kept is not None or (self._scan is not None and self._scan.covers(time))

    def legs(self, time: float) -> list[Leg]:
        """What to show on a clear screen for the screen as it was at *time*."""
        return self._points.legs(time)

    def note_before(self, offset: int) -> Note | None:
        return self._points.note_before(offset)

    @property
    def notes(self) -> list[float]:
        """When there were notes of the bastion, as far as known."""
        return [note.time for note in self._points.notes]

    @property
    def _points(self) -> KeyPoints:
        found = self._kept or self._scan
        return found.points if found is not None else KeyPoints()
