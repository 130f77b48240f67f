"""How much of what a database gives and takes the recordings of its sessions keep."""

from __future__ import annotations

from dataclasses import dataclass

from bastion.config.model import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """The *rows* of each result, and their bytes (*size*), that are shown; and the bytes of each COPY that are kept."""

    rows: int
    size: int
    copied: int = 0


def keeping_of(config: Config) -> Keeping:
    """What *config* says of it."""
    kept = config.recording
    return Keeping(rows=kept.result_rows, size=kept.result_bytes, copied=kept.copy_bytes)
