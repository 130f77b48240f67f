"""Durations on the command line, written as in bastion.toml: `90s`, `8h`, `7d`, `1h30m`."""

from __future__ import annotations

from datetime import timedelta

import click

from policy.durations import parse_duration


def to_duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> timedelta | None:
    """A click callback: the duration an option holds, or None where it is not given."""
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
