"""What remains of recordings that were removed: their entries in the chain of seals, as data and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.filesize import decimal

from bastion.config.model import Config
from cli.output import Column, print_rows
from cli.state import moment
from recorder.keys import published_keys
from recorder.removal import removed
from recorder.seals import Removed
from recorder.seals_check import read_chain


def read_removed(config: Config) -> list[Removed]:
    """The entries of all recordings that were removed on purpose, the latest first."""
    return removed(read_chain(config.recordings_folder, published_keys(config.recorder_key_file)))


def as_data(entry: Removed) -> dict[str, object]:
    """*entry* for programs; times are ISO 8601 in UTC."""
    return {
        "session": entry.id,
        "user": entry.user,
        "target": entry.target,
        "started_at": None if entry.started_at is None else _iso(entry.started_at),
        "bytes": entry.size,
        "chain": entry.chain,
        "removed_at": _iso(entry.at),
        "removed_by": entry.by,
        "rule": entry.rule,
        "reason": entry.reason,
    }


def print_removed(entries: Sequence[Removed], *, as_json: bool) -> None:
    """Print them as a table, or all that is known of them as JSON."""
    if as_json:
        rows = [as_data(entry) for entry in entries]
    else:
        rows = [
            {**as_data(entry), "started_at": entry.started_at, "removed_at": entry.at} for entry in entries
        ]
    columns = [
        Column(key="session", title="SESSION", is_whole=True),
        Column(key="user", title="USER"),
        Column(key="target", title="TARGET"),
        Column(key="started_at", title="STARTED", show=moment),
        Column(key="bytes", title="SIZE", show=decimal, is_number=True),
        Column(key="removed_at", title="REMOVED", show=moment),
        Column(key="removed_by", title="BY"),
        Column(key="rule", title="RULE"),
        Column(key="reason", title="WHY"),
    ]
    print_rows(rows, columns, as_json=as_json, empty="No recording was removed.")


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()
