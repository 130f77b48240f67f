"""Searching recordings: which sessions showed a text or had it typed in, when, and in which line.

Brings together the index of sessions, which knows who and where, and that of their text. Rights are the caller's:
*accept* says per session whether it may be told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from recorder.catalog import SessionRow
from recorder.disk import reading
from recorder.index import Filter, Index
from recorder.names import SessionId
from recorder.search_index import Hit, TextSearch, known, open_reading
from recorder.search_lines import Part

_BATCH = 32
"""So many sessions are looked into in one go of a thread."""


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
    database = await reading(open_reading, index.folder)
    try:
        text = await reading(TextSearch, database, query.text, query.part)
        left = query.narrow.limit
        candidates = await reading(text.candidates)
        batch: list[SessionRow] = []
        async for row in index.walk(query.narrow, candidates):
            if accept(row):
                batch.append(row)
            if len(batch) >= _BATCH:
                for found in await reading(_look_into, text, batch, query.most_hits, left):
                    yield found
                    left = None if left is None else left - 1
                batch = []
            if left == 0:
                return
        for found in await reading(_look_into, text, batch, query.most_hits, left):
            yield found
    finally:
        database.close()


async def unsearchable(
    index: Index, narrow: Filter, accept: Callable[[SessionRow], bool] = lambda row: True
) -> int:
    """How many sessions pass *narrow* and *accept*, and are encrypted and without text in the index."""
    searchable: set[SessionId] | None = None
    count = 0
    async for row in index.walk(replace(narrow, encrypted=True)):
        if searchable is None:
            searchable = await reading(_searchable, index.folder)
        count += row.id not in searchable and accept(row)
    return count


def _searchable(folder: Path) -> set[SessionId]:
    with closing(open_reading(folder)) as database:
        return known(database)


def unsearchable_text(count: int) -> str:
    """The line that tells of them."""
    which = "1 encrypted session that fits" if count == 1 else f"{count:,} encrypted sessions that fit"
    return f"Not searched: {which} otherwise. The index holds no text of what is encrypted.\n"


def _look_into(text: TextSearch, rows: list[SessionRow], most_hits: int, most: int | None) -> list[Found]:
    """Those of *rows* that hold the text, at most *most* of them."""
    all_found: list[Found] = []
    for row in rows:
        if len(all_found) == most:
            break
        if hits := tuple(islice(text.hits(row.id), most_hits + 1)):
            all_found.append(Found(row=row, hits=hits[:most_hits], has_more=len(hits) > most_hits))
    return all_found
