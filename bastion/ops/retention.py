"""Applies the rules of retention: asks what is to go, and removes it; for commands and for the running server.

Holds are looked at again for each recording, at the moment its removal is entered in the chain of seals. What a run
that died left half done is finished by the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from bastion.config.model import Config
from bastion.config.retention import RetentionRule
from bastion.errors import StateError
from bastion.state.holds import Hold
from bastion.state.store import State
from policy.patterns import any_matches, matches
from recorder.catalog import SessionRow
from recorder.disk import reading, writing
from recorder.folder import files_of
from recorder.index import Index
from recorder.keys import SigningKey, published_keys
from recorder.names import SessionId
from recorder.removal import announce, delete_files, only_remover, removed, unfinished
from recorder.retention import Candidate, Limits, Plan, Removal, plan
from recorder.seals import Removed, Sealed
from recorder.seals_check import ChainReading, read_chain
from recorder.search_feed import forget_text_of
from recorder.seek_feed import forget_points_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is to be done: the *plan*; *unfinished* removals of an earlier run; and rows that it left in the index,
    *stale*. What the chain of seals does not have is *unchained* and stays: with it would go evidence that somebody
    meddled."""

    plan: Plan
    unfinished: tuple[Removed, ...]
    stale: tuple[SessionId, ...]
    unchained: tuple[SessionId, ...]
    chain: ChainReading


async def survey(config: Config, state: State, now: float) -> Survey:
    """Look what the rules of *config* would remove at *now*; removes nothing.

    A thread does it, with an index of its own: there may be very many recordings, and sessions must not wait for that.
    """
    return await reading(_survey, config, await state.holds.list(), now)


async def apply(
    config: Config, state: State, index: Index, found: Survey, *, by: str, now: Callable[[], float]
) -> AsyncIterator[Removed]:
    """Finish what an earlier run left, and remove what *found* plans; yields each recording that is gone.

    What is held by now, or cannot be deleted, is passed over. StateError when another process is removing.
    """
    folder = config.recordings_folder
    key = SigningKey.load(config.recorder_key_file)
    left = {SessionId(entry.id) for entry in found.unfinished}
    gone = {SessionId(entry.id) for entry in removed(found.chain)} - left
    with _alone(folder):
        for entry in found.unfinished:
            if held_by(await state.holds.list(), entry):
                continue
            if await _delete(folder, state, index, entry):
                gone.add(SessionId(entry.id))
                yield entry
        for removal in found.plan.removals:
            sealed = found.chain.entries[removal.row.id]
            assert isinstance(sealed, Sealed)
            entered = await _announce(folder, state, removal, sealed, key, by=by, now=now())
            if entered is not None and await _delete(folder, state, index, entered):
                gone.add(removal.row.id)
                yield entered
        # Also what an earlier run did not come to, after the files had gone.
        await index.remove(found.stale)
        await writing(forget_text_of, folder, gone)
        await writing(forget_points_of, folder, gone)


def _survey(config: Config, holds: Sequence[Hold], now: float) -> Survey:
    folder, rules = config.recordings_folder, config.recording.retention.rules
    chain = read_chain(folder, published_keys(config.recorder_key_file))
    ended = [row for row in asyncio.run(_rows(folder)) if row.ended_at is not None]
    sealed = [row for row in ended if isinstance(chain.entries.get(row.id), Sealed)]
    left = tuple(unfinished(folder, removed(chain)))
    halfway = {entry.id for entry in left}
    candidates = [
        Candidate(row=row, size=size, limits=_limits(rules, row), held=held_by(holds, row))
        for row in sealed
        if (size := _size(folder, row.id))  # else it is missing, which `bastion verify` tells
    ]
    return Survey(
        plan=plan(candidates, now),
        unfinished=left,
        stale=tuple(
            row.id
            for row in ended
            if isinstance(chain.entries.get(row.id), Removed) and row.id not in halfway
        ),
        unchained=tuple(row.id for row in ended if row.id not in chain.entries),
        chain=chain,
    )


async def _rows(folder: Path) -> list[SessionRow]:
    index = await Index.open_read(folder)
    try:
        return await index.list()
    finally:
        await index.close()


def held_by(holds: Iterable[Hold], recording: SessionRow | Removed) -> str:
    """Which hold covers *recording*, in words; empty when none does."""
    for hold in holds:
        if hold.covers(session=recording.id, user=recording.user, target=recording.target):
            return f"hold {hold.id}: {hold.reason}" + (f" ({hold.case})" if hold.case else "")
    return ""


async def _announce(
    folder: Path, state: State, removal: Removal, sealed: Sealed, key: SigningKey, *, by: str, now: float
) -> Removed | None:
    async with state.holds.still() as holds:
        if held_by(holds, removal.row):
            return None
        return await writing(announce, folder, removal, sealed, by=by, key=key, now=now)


async def _delete(folder: Path, state: State, index: Index, entry: Removed) -> bool:
    """Delete what *entry* says is removed; false when that cannot be, which must not keep the others from going."""
    session_id = SessionId(entry.id)
    try:
        await writing(delete_files, folder, session_id)
    except OSError as error:
        log.error("retention.not-deleted", session=session_id, reason=str(error))  # the next run tries again
        return False
    await index.remove([session_id])
    await state.audit.record(
        "recording.removed",
        user=entry.user,
        session=entry.id,
        by=entry.by,
        target=entry.target,
        rule=entry.rule,
        reason=entry.reason,
        bytes=entry.size,
    )
    return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with only_remover(folder) as is_ours:
        if not is_ours:
            raise StateError(
                "Another process is removing or backing up recordings.", hint="Try again when it is done."
            )
        yield


def _limits(rules: Sequence[RetentionRule], row: SessionRow) -> Limits | None:
    """What the first rule says that is for the recording of *row*."""
    rule = next((rule for rule in rules if _is_for(rule, row)), None)
    if rule is None:
        return None
    return Limits(
        rule=rule.name,
        keep=rule.keep.total_seconds() if rule.keep is not None else None,
        size=rule.size,
        at_least=rule.at_least.total_seconds(),
    )


def _is_for(rule: RetentionRule, row: SessionRow) -> bool:
    noted = row.facts.get("labels", [])
    labels = dict(label.split("=", 1) for label in noted if "=" in label)
    return (
        (not rule.targets or any_matches(rule.targets, row.target))
        and (not rule.kinds or row.kind in rule.kinds)
        and all(name in labels and matches(value, labels[name]) for name, value in rule.labels.items())
    )


def _size(folder: Path, session_id: SessionId) -> int:
    return sum(file.stat().st_size for file in files_of(folder, session_id))
