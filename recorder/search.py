"""Searching recordings: which sessions showed a text or had it typed in, when, and in which line.

Brings together the index of sessions, which knows who and where, and that of their text. Rights are the caller's:
*accept* says per session whether it may be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from recorder import search_index
from recorder.catalog import SessionRow
from recorder.errors import RecorderError
from recorder.index import Filter, Index
from recorder.names import SessionId
from recorder.search_index import Hit, Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to look for: *text* as it is, but for case; only in *part*, if given; in sessions that pass *narrow*.

    The limit of *narrow* is one of sessions; *most_hits* are told of each.
    """

    text: str
    part: Part | None = None
    narrow: Filter = field(default_factory=Filter)
    most_hits: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A session in which the text was found, and its first hits; *has_more* says that there are others."""

    row: SessionRow
    hits: tuple[Hit, ...]
    has_more: bool


async def search(
    index: Index, query: Query, accept: Callable[[SessionRow], bool] = lambda row: True
) -> AsyncIterator[Found]:
    """The sessions in which *query* is found and which *accept* lets through, newest first."""
    left = query.narrow.limit
    ids = await asyncio.to_thread(_candidates, index.folder, query)
    async for row in index.walk(query.narrow, ids):
        if left is not None and left <= 0:
            return
        if not accept(row):
            continue
        hits = await asyncio.to_thread(_hits, index.folder, row.id, query)
        if not hits:
            continue
        yield Found(row=row, hits=tuple(hits[: query.most_hits]), has_more=len(hits) > query.most_hits)
        left = None if left is None else left - 1


def _candidates(folder: Path, query: Query) -> list[SessionId]:
    with search_index.open_reading(folder) as database:
        if database is None:
            raise RecorderError(
                "There is no index of the text of these recordings.",
                hint="Make it with: bastion index rebuild (with search = true in [recording] a server keeps it).",
            )
        return search_index.candidates(database, query.text, query.part)


def _hits(folder: Path, session_id: SessionId, query: Query) -> list[Hit]:
    with search_index.open_reading(folder) as database:
        if database is None:
            return []
        return list(
            islice(search_index.hits(database, session_id, query.text, query.part), query.most_hits + 1)
        )
