"""Facts: events that have no picture, as the JSON object of an `f` line, in which `is` names the fact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from recorder.errors import FormatError
from recorder.events import (
    BreakSent,
    Event,
    Exited,
    FileHandled,
    Happened,
    InputEnded,
    Killed,
    Masked,
    OutputEnded,
    Scalar,
    Signalled,
    Typed,
)
from recorder.lines import Line, scalar_text

Fact = (
    InputEnded
    | OutputEnded
    | Signalled
    | BreakSent
    | Exited
    | Killed
    | Typed
    | Masked
    | FileHandled
    | Happened
)


def encode_fact(event: Fact) -> str:
    """The data of a fact line."""
    name, told = _told(event)
    return msgspec.json.encode({"is": name, **told}).decode()


def _told(event: Fact) -> tuple[str, dict[str, object]]:
    match event:
        case FileHandled():
            return "file", _file(event)
        case Happened():
            return "happened", _happened(event)
        case Killed(signal, core, message):
            return "killed", {"signal": scalar_text(signal), "core": core, "message": scalar_text(message)}
        case Signalled(name):
            return "signalled", {"signal": scalar_text(name)}
        case BreakSent(milliseconds):
            return "break sent", {"milliseconds": milliseconds}
        case Exited(status):
            return "exited", {"status": status}
        case Typed(count) | Masked(count):
            return "typed" if isinstance(event, Typed) else "masked", {"count": count}
        case InputEnded() | OutputEnded():
            return "input ended" if isinstance(event, InputEnded) else "output ended", {}


def _file(event: FileHandled) -> dict[str, object]:
    told: dict[str, object] = {
        "operation": scalar_text(event.operation),
        "path": scalar_text(event.path),
        "to": scalar_text(event.to),
        "size": event.size,
        "offset": event.offset or None,
        "sha256": event.sha256,
        "result": scalar_text(event.result),
        "reused": event.reused,
        "checksum": event.checksum,
    }
    return {
        key: value for key, value in told.items() if key in ("operation", "path") or value not in ("", None)
    }


def _happened(event: Happened) -> dict[str, object]:
    told: dict[str, object] = {"what": scalar_text(event.what), "text": scalar_text(event.text)}
    if event.facts:
        told["facts"] = {
            scalar_text(key): scalar_text(value) if isinstance(value, str) else value
            for key, value in event.facts.items()
        }
    return told


class _Fact(msgspec.Struct, frozen=True, kw_only=True):
    is_: str = msgspec.field(name="is")
    signal: str = ""
    milliseconds: int = 0
    count: Annotated[int, msgspec.Meta(ge=0)] = 0
    status: int = 0
    core: bool = False
    message: str = ""
    operation: str = ""
    path: str = ""
    to: str = ""
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    sha256: str | None = None
    result: str = ""
    reused: Annotated[int, msgspec.Meta(ge=0)] | None = None
    checksum: str = ""
    what: str = ""
    text: str = ""
    facts: dict[str, Scalar] = {}


_FACTS = msgspec.json.Decoder(_Fact)

_EVENTS: dict[str, Callable[[_Fact], Event]] = {
    "input ended": lambda fact: InputEnded(),
    "output ended": lambda fact: OutputEnded(),
    "signalled": lambda fact: Signalled(fact.signal),
    "break sent": lambda fact: BreakSent(fact.milliseconds),
    "exited": lambda fact: Exited(fact.status),
    "killed": lambda fact: Killed(fact.signal, fact.core, fact.message),
    "typed": lambda fact: Typed(fact.count),
    "masked": lambda fact: Masked(fact.count),
    "file": lambda fact: FileHandled(
        fact.operation,
        fact.path,
        fact.to,
        fact.size,
        fact.offset,
        fact.sha256,
        fact.result,
        fact.reused,
        fact.checksum,
    ),
    "happened": lambda fact: Happened(fact.what, fact.text, fact.facts),
}


def decode_fact(line: Line) -> Event | None:
    """The event of a fact line; None for a fact this version does not know (later ones may add some)."""
    try:
        fact = _FACTS.decode(line.data.encode())
    except msgspec.DecodeError as error:
        raise FormatError(f"not a fact ({error})", line=line.number) from None
    event = _EVENTS.get(fact.is_)
    return None if event is None else event(fact)
