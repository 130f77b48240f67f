"""Recordings in other forms: asciicast v2 and v3 for stock players, and a transcript to read.

Each writer reads the recording once, from start to end, and holds no more of it than redaction needs. What an export
leaves out is said at its function. Evidence is in the recording itself, and in `export_bundle`.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import msgspec

from recorder.at_rest import Identity, open_plain
from recorder.events import ErrorOutput, Exited, Happened, Input, Killed, Noted, Output, Resized
from recorder.header import Header, title_of
from recorder.lines import INPUT, MARKER, OUTPUT, RESIZE, drawable, encode_line
from recorder.player_status import exact_clock
from recorder.reader import Entry, Reader, open_recording
from recorder.redaction import Pattern, StreamRedactor, redact, redact_facts
from recorder.search_lines import said, text_lines
from recorder.terminal.text import plain

Progress = Callable[[int], None]
"""Told how many bytes of the recording have been read."""

HAPPENED = "What happened:"
"""The title of what follows the lines of a transcript."""
_REPORT_EVERY = 256
_STREAMS = {Output: "output", ErrorOutput: "output", Input: "input"}


def silent(_read: int) -> None:
    """Tell nobody."""


def told_header(reader: Reader, *, secrets: Sequence[Pattern]) -> Header:
    """The header, with secrets taken out of the facts if wanted."""
    header = reader.header
    return replace(header, facts=redact_facts(header.facts, secrets)) if secrets else header


def shown_entries(
    reader: Reader, *, secrets: Sequence[Pattern], progress: Progress = silent
) -> Iterator[tuple[Entry, str]]:
    """The entries of a recording with the text that a screen shows of each, redacted if wanted."""
    redactor: StreamRedactor[Entry] = StreamRedactor(secrets)
    for number, entry in enumerate(reader):
        if number % _REPORT_EVERY == 0:
            progress(reader.whole)
        if secrets:
            stream = _STREAMS.get(type(entry.event), "")
            yield from redactor.feed(entry, stream, entry.text)
        else:
            yield entry, entry.text
    yield from redactor.finish()
    progress(reader.whole)


def write_v2(
    path: Path,
    out: BinaryIO,
    *,
    secrets: Sequence[Pattern],
    progress: Progress = silent,
    identities: Sequence[Identity] = (),
) -> None:
    """Asciicast v2: the recording itself; redacted, only what players show of it (the evidence would not hold)."""
    if not secrets:
        with open_plain(path, identities) as file:
            shutil.copyfileobj(file, out, 1024 * 1024)
        return
    with open_recording(path, identities) as reader:
        header = told_header(reader, secrets=secrets)
        out.write(
            _json_line(
                {
                    "version": 2,
                    "width": drawable(header.columns or 80),
                    "height": drawable(header.rows or 24),
                    **_common(header),
                }
            )
        )
        for entry, text in shown_entries(reader, secrets=secrets, progress=progress):
            if (line := _stock(entry, text)) is not None:
                out.write(encode_line(round(entry.time * 1_000_000), *line))


def write_v3(
    path: Path,
    out: BinaryIO,
    *,
    secrets: Sequence[Pattern],
    progress: Progress = silent,
    identities: Sequence[Identity] = (),
) -> None:
    """Asciicast v3: what players show, and the exit status; neither exact bytes nor evidence."""
    with open_recording(path, identities) as reader:
        header = told_header(reader, secrets=secrets)
        size = {"cols": drawable(header.columns or 80), "rows": drawable(header.rows or 24)}
        term = size | ({"type": header.terminal} if header.terminal else {})
        out.write(_json_line({"version": 3, "term": term, **_common(header)}))
        before = 0
        status = None
        for entry, text in shown_entries(reader, secrets=secrets, progress=progress):
            status = _exit_status(entry, status)
            if (line := _stock(entry, text)) is not None:
                now = round(entry.time * 1_000_000)  # intervals of whole microseconds add up to the time
                out.write(encode_line(now - before, *line))
                before = now
        if status is not None:
            out.write(encode_line(max(round(reader.time * 1_000_000) - before, 0), "x", str(status)))


def write_text(
    path: Path,
    out: BinaryIO,
    *,
    secrets: Sequence[Pattern],
    progress: Progress = silent,
    identities: Sequence[Identity] = (),
) -> None:
    """The lines somebody at the screen could read, without escape sequences; after them what happened beside that."""
    redactor: StreamRedactor[None] = StreamRedactor(secrets)
    for number, line in enumerate(text_lines(path, identities=identities)):
        if line.part != "output":
            continue
        text = f"{line.text}\n"
        pieces = redactor.feed(None, "output", text) if secrets else iter([(None, text)])
        out.writelines(piece.encode() for _, piece in pieces)
        if number % _REPORT_EVERY == 0:
            progress(0)
    out.writelines(piece.encode() for _, piece in redactor.finish())
    _write_what_happened(path, out, secrets, progress, identities)
    progress(path.stat().st_size)


def _write_what_happened(
    path: Path,
    out: BinaryIO,
    secrets: Sequence[Pattern],
    progress: Progress,
    identities: Sequence[Identity],
) -> None:
    """Statements, requests and connections, a line each; files that were copied stand among the lines as notes."""
    is_first = True
    with open_recording(path, identities) as reader:
        for number, entry in enumerate(reader):
            if isinstance(entry.event, Happened):
                line = f"{exact_clock(entry.time)}  {plain(entry.event.what):<10}  {plain(said(entry.event))}"
                title = f"\n{HAPPENED}\n" if is_first else ""
                out.write(f"{title}{redact(line, secrets) if secrets else line}\n".encode())
                is_first = False
            if number % _REPORT_EVERY == 0:
                progress(reader.whole)
        progress(reader.whole)


def _stock(entry: Entry, text: str) -> tuple[str, str] | None:
    """Code and data of *entry* as stock players know them."""
    match entry.event:
        case Output() | ErrorOutput() if text:
            return OUTPUT, text
        case Input() if text:
            return INPUT, text
        case Noted():
            return MARKER, text
        case Resized(columns, rows):
            return RESIZE, f"{drawable(columns)}x{drawable(rows)}"
        case _:
            return None


def _common(header: Header) -> dict[str, object]:
    title = title_of(header.facts)
    return {"timestamp": max(0, int(header.started_at))} | ({"title": title} if title else {})


def _exit_status(entry: Entry, status: int | None) -> int | None:
    match entry.event:
        case Exited(number):
            return number
        case Killed(name):
            return 128 + getattr(signal, f"SIG{name}", 0)
        case _:
            return status


def _json_line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"
