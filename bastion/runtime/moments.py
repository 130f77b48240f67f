"""Moments as people type them: how long ago, or a date or time. The clock comes in as an argument."""

from __future__ import annotations

from datetime import UTC, datetime

from policy.durations import parse_duration


def parse_moment(text: str, now: float) -> float:
    """Unix seconds from an age such as `2h` or `7d`, or from a date or time in ISO 8601, in UTC unless it says."""
    try:
        return now - parse_duration(text).total_seconds()
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is neither an age (2h, 7d) nor a date or time (2026-11-24, 2026-11-24T09:30)"
        raise ValueError(message) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_seconds(text: str) -> float:
    """Seconds into a session from `90`, `1.5` or `1m30s`."""
    try:
        return float(text) if text.replace(".", "", 1).isdecimal() else parse_duration(text).total_seconds()
    except ValueError:
        raise ValueError(f"{text!r} is no time: write 90, 1m30s or 1h5m") from None
