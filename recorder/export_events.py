"""Recordings taken apart for programs: every event as JSON, and the exact bytes of each stream as files.

Bytes that are UTF-8 stand as text, others in base64. Redaction is done on the bytes, so that nothing of them is exact
where a secret was, and everything else is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import msgspec

from recorder.at_rest import Identity
from recorder.contents import Contents
from recorder.events import ErrorOutput, Event, Input, Masked, Output, Typed
from recorder.export import Progress, silent, told_header
from recorder.lines import encode_bytes
from recorder.reader import Reader, open_recording
from recorder.redaction import Pattern, StreamRedactor, redact_told

STREAMS: dict[type[Event], str] = {Output: "output", ErrorOutput: "error", Input: "input"}
_REPORT_EVERY = 256


def write_json(
    path: Path,
    out: BinaryIO,
    *,
    secrets: Sequence[Pattern],
    progress: Progress = silent,
    identities: Sequence[Identity] = (),
) -> None:
    """JSON lines: the header, each event with its time, and what the seal says if there is one."""
    with open_recording(path, identities) as reader:
        out.write(_line(_header(reader, secrets)))
        out.writelines(
            _line({"time": time, **_described(event)}) for time, event in _events(reader, secrets, progress)
        )
        if reader.seal is not None:
            out.write(_line({"time": reader.time, "event": "sealed", "session": reader.seal.session}))


def write_raw(
    path: Path,
    folder: Path,
    *,
    secrets: Sequence[Pattern],
    progress: Progress = silent,
    identities: Sequence[Identity] = (),
) -> None:
    """Files in *folder*, which must be new: output.bin, error.bin, input.bin, and events.json that knows the cuts.

    In events.json a piece of a stream is its `offset` and `length` in the file. Input that was masked is in no file.
    Contents that were kept are in files of their own, unless secrets were taken out of them: nothing is exact then.
    """
    folder.mkdir(mode=0o700)
    with open_recording(path, identities) as reader, ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.bin").open("xb")) for name in STREAMS.values()}
        events = stack.enter_context((folder / "events.json").open("xb"))
        events.write(b"[\n" + msgspec.json.encode(_header(reader, secrets)))
        contents = Contents(folder) if not secrets and not reader.header.redacted else None
        for time, event in _events(reader, secrets, progress):
            if contents is not None:
                contents.take(event)
            described: dict[str, object]
            if isinstance(event, Output | ErrorOutput | Input):
                file = files[STREAMS[type(event)]]
                name = STREAMS[type(event)]
                described = {"event": name, "offset": file.tell(), "length": len(event.data)}
                file.write(event.data)
            else:
                described = _described(event)
            events.write(b",\n" + msgspec.json.encode({"time": time, **described}))
        events.write(b"\n]\n")


def _events(reader: Reader, secrets: Sequence[Pattern], progress: Progress) -> Iterator[tuple[float, Event]]:
    redactor: StreamRedactor[tuple[float, Event]] = StreamRedactor(secrets)
    for number, entry in enumerate(reader):
        if number % _REPORT_EVERY == 0:
            progress(reader.whole)
        if not secrets:
            yield entry.time, entry.event
            continue
        event = entry.event
        is_stream = isinstance(event, Output | ErrorOutput | Input)
        text = event.data.decode("latin-1") if isinstance(event, Output | ErrorOutput | Input) else ""
        stream = STREAMS[type(event)] if is_stream else ""
        for item, redacted in redactor.feed((entry.time, event), stream, text):
            yield _replaced(item, redacted, secrets)
    for item, redacted in redactor.finish():
        yield _replaced(item, redacted, secrets)
    progress(reader.whole)


def _replaced(item: tuple[float, Event], text: str, secrets: Sequence[Pattern]) -> tuple[float, Event]:
    time, event = item
    if isinstance(event, Output | ErrorOutput | Input):
        return time, type(event)(text.encode("latin-1"))
    return time, redact_told(event, secrets)


def _header(reader: Reader, secrets: Sequence[Pattern]) -> dict[str, object]:
    return {"event": "began", "id": reader.id, **asdict(told_header(reader, secrets=secrets))}


def _described(event: Event) -> dict[str, object]:
    """*event* by its name in lower case, and its fields."""
    if isinstance(event, Output | ErrorOutput | Input):
        try:
            return {"event": STREAMS[type(event)], "text": event.data.decode()}
        except UnicodeDecodeError:
            return {"event": STREAMS[type(event)], "base64": encode_bytes(event.data)}
    name = "".join(f" {char.lower()}" if char.isupper() else char for char in type(event).__name__).strip()
    fields = {
        key: encode_bytes(value) if isinstance(value, bytes) else value
        for key, value in asdict(event).items()
    }
    if isinstance(event, Typed | Masked):
        fields = {"length": event.count}
    return {"event": name, **fields}


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"
