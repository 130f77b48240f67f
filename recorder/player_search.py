"""Looking for a text in the recording that is being played: where it was shown, one place after the other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recorder.at_rest import Identity
from recorder.errors import FormatError
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
    path: Path, text: str, is_stopped: Callable[[], bool], identities: Sequence[Identity] = ()
) -> Places:
    """Where the recording at *path* shows *text*, without regard to case. Blocking; raises Stopped."""
    wanted, times = text.casefold(), []
    try:
        for line in text_lines(path, is_stopped, identities):
            if line.part != "input" and wanted in line.text.casefold():
                times.append(line.time + JUST_AFTER)
                if len(times) >= MOST:
                    break
    except FormatError:
        pass  # up to where it can be read
    return Places(f"/{text}:", sorted(set(times)))
