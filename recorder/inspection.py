"""A verdict on one recording, in a word for people: is it good, or what is wrong with it?

Beside the evidence in the file (`verify`) it looks at what stands around it: its name, and whether it is being written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recorder.at_rest import Identity
from recorder.catalog import is_live
from recorder.keys import VerifyKey
from recorder.names import is_id
from recorder.verify import Verdict, verify_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found out about one recording."""

    name: str
    path: Path
    is_good: bool
    state: str
    reason: str
    verdict: Verdict | None = None


def inspect(path: Path, keys: Iterable[VerifyKey], identities: Sequence[Identity] = ()) -> Finding:
    """Verify the recording at *path*. FormatError when it cannot be read."""
    verdict = verify_file(path, keys, identities)
    stem = path.name.partition(".")[0]
    state, reason, is_good = str(verdict.state), verdict.reason, verdict.state == "sealed"
    if verdict.id is not None and is_id(stem) and verdict.id != stem:
        state, reason, is_good = (
            "changed",
            f"the file is named {stem}, but it is the recording {verdict.id}",
            False,
        )
    elif verdict.state == "unsealed" and is_live(path):
        state, reason, is_good = (
            "live",
            f"lines 1 to {verdict.signed_lines} are as they were signed; it still runs",
            True,
        )
    return Finding(
        name=verdict.id or str(path), path=path, is_good=is_good, state=state, reason=reason, verdict=verdict
    )
