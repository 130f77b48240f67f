"""How much of what a database gives and takes the recordings of its sessions keep."""

from __future__ import annotations

from dataclasses import dataclass

from bastion.config.model import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """The *rows* of each result, and their bytes (*size*), that are shown; and the bytes of each COPY that are kept.

    With *is_exact* false, secrets are taken out of what is written down: nothing may hold bytes that nobody looks into.
    """

    rows: int
    size: int
    copied: int = 0
    is_exact: bool = True


def keeping_of(config: Config) -> Keeping:
    """What *config* says of it."""
    kept = config.recording
    return Keeping(
        rows=kept.result_rows, size=kept.result_bytes, copied=kept.copy_bytes, is_exact=not kept.redact
    )
