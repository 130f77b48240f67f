"""The first line of a recording: what stock players need, and beside it our facts under one key.

The stock keys are for the eye of stock players (a size they can draw, a short title). Everything exact stands under
`bastion`, and a reader of ours looks nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from recorder.errors import FormatError
from recorder.lines import LINE_LIMIT, drawable, scalar_text
from recorder.names import SessionId, is_id

FORMAT = 1
TITLE_LENGTH = 80

InputRule = Literal["masked", "all", "none"]

Facts = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is known when a session starts.

    *started_at* is in Unix seconds; *columns* and *rows* are as the client said them (0 where it did not);
    *terminal* is its TERM, or None when the session has no terminal. *facts* is opaque here: the recorder keeps
    it, and the index picks `user`, `groups`, `target`, `kind`, `login`, `action` and `command` out of it.
    *input* says what is kept of the input: all of it, what was echoed on a terminal, or only its length.
    *redacted* says that secrets are taken out of the streams before they are written.
    *encrypt* says that the recording is to be encrypted once it is sealed.
    """

    started_at: float
    columns: int
    rows: int
    terminal: str | None
    facts: Facts = field(default_factory=dict)
    input: InputRule = "all"
    redacted: bool = False
    encrypt: bool = False


class _Ours(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    format: int
    id: str
    key: str
    started_at: float
    columns: int
    rows: int
    terminal: str | None
    newline: str
    facts: dict[str, str | list[str]]
    input: InputRule = "all"
    redacted: bool = False
    encrypt: bool = False


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    version: int
    width: int
    height: int
    timestamp: int
    title: str = ""
    env: dict[str, str] = {}
    bastion: _Ours


_DECODER = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A whole header line: the header, the recording's id, and the id of the key that signs it."""

    id: SessionId
    key_id: str
    header: Header

    @property
    def shows_crlf(self) -> bool:
        """Whether line feeds of the streams are shown as CR LF (there is no terminal that would have done it)."""
        return self.header.terminal is None


def encode_opening(opening: Opening) -> bytes:
    """The header line with its line feed; FormatError when the facts are too long for a line."""
    header = opening.header
    terminal = None if header.terminal is None else scalar_text(header.terminal)
    line = _Line(
        version=2,
        width=drawable(header.columns or 80),
        height=drawable(header.rows or 24),
        timestamp=max(0, int(header.started_at)),
        title=title_of(header.facts),
        env={} if terminal is None else {"TERM": terminal},
        bastion=_Ours(
            format=FORMAT,
            id=opening.id,
            key=opening.key_id,
            started_at=header.started_at,
            columns=header.columns,
            rows=header.rows,
            terminal=terminal,
            newline="crlf" if opening.shows_crlf else "as is",
            facts={scalar_text(name): _fact(value) for name, value in header.facts.items()},
            input=header.input,
            redacted=header.redacted,
            encrypt=header.encrypt,
        ),
    )
    encoded = msgspec.json.encode(line) + b"\n"
    if len(encoded) > LINE_LIMIT:
        raise FormatError("the facts of this session are too long to be recorded")
    return encoded


def decode_opening(line: bytes) -> Opening:
    """Read a header line strictly; FormatError says why it is none."""
    try:
        parsed = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"not the header of a recording of ours ({error})", line=1) from None
    ours = parsed.bastion
    if parsed.version != 2 or ours.format != FORMAT:
        raise FormatError(
            f"asciicast version {parsed.version} with bastion format {ours.format}; this program reads 2 with {FORMAT}",
            line=1,
            hint="Use the version of this program that wrote it, or a newer one.",
        )
    if not is_id(ours.id):
        raise FormatError(f"{ours.id!r} is not the id of a session", line=1)
    if ours.newline != ("crlf" if ours.terminal is None else "as is"):
        raise FormatError("the newline convention does not fit the terminal", line=1)
    header = Header(
        started_at=ours.started_at,
        columns=ours.columns,
        rows=ours.rows,
        terminal=ours.terminal,
        facts=ours.facts,
        input=ours.input,
        redacted=ours.redacted,
        encrypt=ours.encrypt,
    )
    return Opening(id=SessionId(ours.id), key_id=ours.key, header=header)


def _fact(value: str | list[str]) -> str | list[str]:
    return scalar_text(value) if isinstance(value, str) else [scalar_text(item) for item in value]


def title_of(facts: Facts) -> str:
    """`login@target by user`, as far as known, without anything a terminal would act on."""
    user, target, login = (
        value if isinstance(value := facts.get(name, ""), str) else "" for name in ("user", "target", "login")
    )
    where = f"{login}@{target}" if login and target else target
    text = f"{where} by {user}" if where and user else where or user
    return "".join(c for c in scalar_text(text) if c.isprintable())[:TITLE_LENGTH]
