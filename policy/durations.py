"""Lengths of time as people write them: `90s`, `5m`, `8h`, `1h30m`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(value: object) -> timedelta:
    """Read `90s`, `5m`, `8h`, `30d` or a sum such as `1h30m`; a timedelta passes through."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"([0-9]{1,9}[smhd])+", value):
        raise ValueError('write a duration such as "90s", "5m", "8h" or "1h30m"')
    seconds = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"([0-9]+)([smhd])", value))
    if seconds > _UNITS["d"] * 36500:
        raise ValueError("this is longer than a hundred years")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back as *value* (whole seconds)."""
    seconds, text = int(value.total_seconds()), ""
    for unit in "dhms":
        count, seconds = divmod(seconds, _UNITS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("must be longer than nothing")
    return value


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, when_used="json")
]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
