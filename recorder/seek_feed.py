"""Keeps key points up with the recordings: finds those of each long one that was sealed, one after the other.

Until those are found a seek takes longer, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import structlog

from recorder import search_index, seek_index
from recorder.at_rest import Identity, open_plain
from recorder.catalog import SessionRow
from recorder.errors import FormatError, NoIdentityFits
from recorder.feed import Feed
from recorder.names import SessionId, is_encrypted
from recorder.search_lines import Stopped
from recorder.seek_scan import Scan

log = structlog.get_logger()


class SeekFeed(Feed):
    """Enters key points, also of a recording that is encrypted meanwhile."""

    def __init__(self, folder: Path, *, min_free_bytes: int) -> None:
        super().__init__(folder, name="seek", min_free_bytes=min_free_bytes)

    def _derive(self, row: SessionRow) -> None:
        enter_points(self._folder, row.id, row.path, self._rests)

    def _catch_up(self, rows: list[SessionRow]) -> None:
        with (
            search_index.only_writer(self._folder, self._rests.is_stopped),
            closing(seek_index.open_writing(self._folder)) as database,
        ):
            known = seek_index.known(database)
            for session_id in known - {row.id for row in rows}:
                seek_index.remove(database, session_id)
        for row in rows:
            if row.id not in known and row.path.exists() and not is_encrypted(row.path):
                self._attempt(self._enter, row)


def enter_points(
    folder: Path,
    session_id: SessionId,
    path: Path,
    is_stopped: Callable[[], bool] = lambda: False,
    identities: Sequence[Identity] = (),
) -> None:
    """Enter the key points of the recording at *path*, if it is long; raises Stopped when *is_stopped* says so."""
    if path.stat().st_size < seek_index.WORTH_KEEPING:
        return
    print_ = seek_index.print_of(path)
    try:
        with open_plain(path, identities) as file:
            scan = Scan(file)
            scan.run(is_stopped)
    except NoIdentityFits:
        raise
    except FormatError as error:
        log.warning("seek.damaged-recording", session=session_id, error=str(error))
        return
    if not scan.is_over:
        raise Stopped
    with search_index.only_writer(folder, is_stopped), closing(seek_index.open_writing(folder)) as database:
        seek_index.keep(database, session_id, print_, scan)


def rebuild_points(
    folder: Path, rows: Iterable[SessionRow], identities: Sequence[Identity] = ()
) -> Iterator[SessionRow]:
    """Make the key points of *folder* anew from the recordings of *rows*; yields each once that is done.

    What is known of encrypted ones stays where none of *identities* fits.
    """
    rows = list(rows)
    with search_index.only_writer(folder), closing(seek_index.open_writing(folder)) as database:
        for session_id in seek_index.known(database) - {row.id for row in rows if is_encrypted(row.path)}:
            seek_index.remove(database, session_id)
    for row in rows:
        if not is_encrypted(row.path) or identities:
            try:
                enter_points(folder, row.id, row.path, identities=identities)
            except NoIdentityFits:
                continue
        yield row


def forget_points_of(folder: Path, ids: Collection[SessionId]) -> None:
    """Take the key points of *ids* out of the index, if there is one."""
    if (folder / seek_index.FILE).exists():
        with search_index.only_writer(folder), closing(seek_index.open_writing(folder)) as database:
            for session_id in ids:
                seek_index.remove(database, session_id)
