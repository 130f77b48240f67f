"""Looking for a text in the recording that is being played: where it was shown, one place after the other."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from recorder.at_rest import Identity
from recorder.errors import FormatError, RecorderError
from recorder.names import SessionId, id_in
from recorder.search_index import TextSearch, known, open_reading
from recorder.search_lines import text_lines

MOST = 10_000
"""Places that are kept."""
JUST_AFTER = 0.001
"""Seconds after a line came at which it stands on the screen."""


@dataclass(frozen=True, slots=True)
class Places:
    """When *text* was shown, or when what is marked was noted: times in their order."""

    text: str
    times: Sequence[float]

    def following(self, position: float, step: int) -> int | None:
        """The number of the next place after *position* (or before it, with a *step* of -1), around the ends."""
        if not self.times:
            return None
        at = bisect_right(self.times, position) if step > 0 else bisect_left(self.times, position) - 1
        return at % len(self.times)

    def told(self, number: int) -> str:
        return f"{self.text} {number + 1} of {len(self.times)}{'+' if len(self.times) >= MOST else ''}"


def places_of(
    path: Path,
    folder: Path | None,
    text: str,
    is_stopped: Callable[[], bool],
    identities: Sequence[Identity] = (),
) -> Places:
    """Where the recording at *path* shows *text*, without regard to case. Blocking; raises Stopped.

    The index of the text in *folder* is asked first; it has not all recordings.
    """
    times = None if folder is None else _indexed(folder, SessionId(id_in(path)), text)
    if times is None:
        times = _read(path, text, is_stopped, identities)
    return Places(f"/{text}:", sorted(set(times)))


def _indexed(folder: Path, session_id: SessionId, text: str) -> list[float] | None:
    try:
        with closing(open_reading(folder)) as database:
            if session_id not in known(database):
                return None
            hits = TextSearch(database, text, None).hits(session_id)
            return [
                hit.time + JUST_AFTER for hit in islice((hit for hit in hits if hit.part != "input"), MOST)
            ]
    except (RecorderError, sqlite3.Error):  # there is none, or it is being made: it is only about time
        return None


def _read(
    path: Path, text: str, is_stopped: Callable[[], bool], identities: Sequence[Identity]
) -> list[float]:
    wanted, times = text.casefold(), []
    try:
        for line in text_lines(path, is_stopped, identities):
            if line.part != "input" and wanted in line.text.casefold():
                times.append(line.time + JUST_AFTER)
                if len(times) >= MOST:
                    break
    except FormatError:
        pass  # up to where it can be read
    return times
