"""Holds a folder of recordings against its chain of seals: what is missing, what is there and should not be.

The procedure:

1. Each line of the chain is of the format, and signed by a key one trusts.
2. Entries are numbered from 1 without a gap, and each holds the hash of the line before it.
3. Each recording that was sealed and not removed is in the folder, and ends with the chain value of its entry.
4. Each sealed recording in the folder has an entry.

What was cut from the end of the chain together with its recordings does not show here: only somebody who knows a later
entry, from a log or a backup, can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from recorder.errors import FormatError
from recorder.inspection import Finding
from recorder.keys import VerifyKey, by_id
from recorder.names import SessionId, id_in, is_id, place
from recorder.seals import FILE, NO_ENTRY, Entry, Removed, Sealed, SealLine, SealLog, decode_entry

_WHOLE = ("sealed", "encrypted")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReading:
    """What the chain says: the last entry of each recording whose signature holds; and what is wrong with the chain."""

    path: Path
    exists: bool
    entries: Mapping[str, Entry]
    faults: Sequence[str]


def read_chain(folder: Path, keys: Iterable[VerifyKey]) -> ChainReading:
    """Steps 1 and 2."""
    log = SealLog(folder, is_durable=False)
    known = by_id(keys)
    entries: dict[str, Entry] = {}
    faults: list[str] = []
    expected, previous = 1, NO_ENTRY
    for number, raw in enumerate(log.lines(), 1):
        try:
            line = decode_entry(raw, number)
        except FormatError as error:
            faults.append(error.message)
            expected, previous = expected + 1, ""
            continue
        entry = line.entry
        if fault := _signature_fault(line, known):
            faults.append(f"line {number}: {fault}")
            expected, previous = expected + 1, ""
            continue
        if fault := _order_fault(entry, expected, previous):
            faults.append(f"line {number}: {fault}")
        entries[entry.id] = entry
        expected, previous = entry.number + 1, line.digest
    return ChainReading(path=log.path, exists=log.path.exists(), entries=entries, faults=tuple(faults))


def hold_against(chain: ChainReading, folder: Path, findings: Sequence[Finding]) -> list[Finding]:
    """Steps 3 and 4, over *findings* about all recordings in *folder*: those findings, and what the chain adds."""
    if not chain.exists:
        reason = "there is no chain of seals, so nobody can tell whether a recording is missing"
        return [*findings, *([_of_chain(chain, "missing", reason)] if findings else [])]
    present = {id_in(finding.path) for finding in findings}
    return [
        *(_of_chain(chain, "changed", fault) for fault in chain.faults),
        *_missing(chain.entries.values(), folder, present),
        *_removed(chain.entries.values(), folder, present),
        *(_with_entry(finding, chain.entries.get(id_in(finding.path))) for finding in findings),
    ]


def _signature_fault(line: SealLine, keys: Mapping[str, VerifyKey]) -> str:
    entry = line.entry
    if (key := keys.get(entry.key)) is None:
        return f"signed with key {entry.key}, which is not among the keys given"
    if key.is_retired(entry.at):
        return f"the entry of {entry.id} is signed with key {key.id} after it was retired"
    if not key.verifies(line.signature, line.message):
        return f"the entry of {entry.id} was changed: its signature is not by key {key.id}"
    if not is_id(entry.id):
        return f"{entry.id!r} is not the id of a session"
    return ""


def _order_fault(entry: Entry, expected: int, previous: str) -> str:
    if entry.number > expected:
        gap = (
            f"entry {expected} was"
            if entry.number == expected + 1
            else f"entries {expected} to {entry.number - 1} were"
        )
        return f"{gap} dropped before that of {entry.id}"
    if entry.number < expected:
        return f"entry {entry.number}, of {entry.id}, stands where entry {expected} should: moved or repeated"
    if previous and entry.previous != previous:
        return f"the line before entry {entry.number}, of {entry.id}, is not the one that was there"
    return ""


def _missing(entries: Iterable[Entry], folder: Path, present: set[str]) -> Iterator[Finding]:
    for entry in entries:
        if isinstance(entry, Sealed) and entry.id not in present:
            yield Finding(
                name=entry.id,
                path=folder / place(SessionId(entry.id)),
                is_good=False,
                state="missing",
                reason=f"it was sealed ({entry.ending}) and is in the chain as entry {entry.number}"
                f" of {_moment(entry.at)}, but not in the folder",
            )


def _removed(entries: Iterable[Entry], folder: Path, present: set[str]) -> Iterator[Finding]:
    for entry in entries:
        if isinstance(entry, Removed) and entry.id not in present:
            yield Finding(
                name=entry.id,
                path=folder / place(SessionId(entry.id)),
                is_good=True,
                state="removed",
                reason=f"{entry.by} removed it, {_moment(entry.at)}: {entry.reason}",
            )


def _with_entry(finding: Finding, entry: Entry | None) -> Finding:
    """*finding*, made worse where the recording is not the one that was sealed."""
    verdict = finding.verdict
    if verdict is None or isinstance(entry, Removed):  # it is about to be removed
        return finding
    if entry is None:
        if verdict.state not in _WHOLE:
            return finding
        reason = "it is sealed, but not in the chain of seals: it was put there, or its entry was taken away"
        return replace(finding, is_good=False, state="not in the chain", reason=reason)
    if finding.is_good and finding.state in _WHOLE and verdict.chain != entry.chain:
        reason = f"it is not the recording that was sealed as entry {entry.number} of the chain"
        return replace(finding, is_good=False, state="changed", reason=reason)
    if finding.state == "unsealed":  # one that was live when it was looked at may have got its entry since
        reason = f"it was sealed, as entry {entry.number} of the chain says, and its end is missing"
        return replace(finding, is_good=False, state="changed", reason=reason)
    return finding


def _of_chain(chain: ChainReading, state: str, reason: str) -> Finding:
    return Finding(name=FILE, path=chain.path, is_good=False, state=state, reason=reason)


def _moment(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC"
