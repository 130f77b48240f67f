"""What can happen in a session, in the past tense.

These few types are the one vocabulary of the whole data path: connectors produce them, the relay carries them,
the journal writes them down, readers give them back. `Input`, `InputEnded`, `Resized`, `Signalled` and
`BreakSent` travel from the client to the target; the others from the target to the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Output:
    """Bytes the target wrote to its terminal or stdout."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ErrorOutput:
    """Bytes the target wrote to stderr (never on a terminal)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes the client typed or piped in."""

    data: bytes


@dataclass(frozen=True, slots=True)
class InputEnded:
    """The client closed its sending side (half-close)."""


@dataclass(frozen=True, slots=True)
class OutputEnded:
    """The target closed its sending side; an exit may still follow."""


@dataclass(frozen=True, slots=True)
class Resized:
    """The client's window changed; sizes in characters, and in pixels where the client said (else 0)."""

    columns: int
    rows: int
    pixel_width: int = 0
    pixel_height: int = 0


@dataclass(frozen=True, slots=True)
class Signalled:
    """The client sent a signal by name without SIG, as in RFC 4254 section 6.9 (`INT`, `TERM`)."""

    name: str


@dataclass(frozen=True, slots=True)
class BreakSent:
    """The client sent a break (RFC 4335); its length in milliseconds, 0 for the default."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The target's program ended with an exit status (0 to 255)."""

    status: int


@dataclass(frozen=True, slots=True)
class Killed:
    """The target's program was ended by a signal (RFC 4254 section 6.10)."""

    signal: str
    core_dumped: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Typed:
    """The client typed *count* bytes; what they were is told later, in their order, by `Input` and `Masked`.

    The recorder alone makes it, and `Masked`, of the `Input` of a session whose input is masked.
    """

    count: int


@dataclass(frozen=True, slots=True)
class Masked:
    """The next *count* bytes of input are not kept: they were not echoed, or input is not recorded."""

    count: int


@dataclass(frozen=True, slots=True)
class FileHandled:
    """A file operation that passed in a protocol of files: asked for (*result* is empty), or what became of it.

    *to* is the second path of operations that have two. *size* and *sha256* are of contents that went through
    from *offset* on; the digest is None where they did not go in their order. *reused* bytes did not go: the receiver
    took them from what it had, and then *checksum* is the protocol's own, of the entire file ("NAME HEX").
    """

    operation: str
    path: str
    to: str = ""
    size: int | None = None
    offset: int = 0
    sha256: str | None = None
    result: str = ""
    reused: int | None = None
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that is no stream: a statement (*what* is "sql"), a request to an API, a connection passed on.

    *text* says it as people would search for it; *facts* are its particulars, which the recorder gives no meaning.
    """

    what: str
    text: str
    facts: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Noted:
    """A fact the bastion adds for the auditor (a marker in the recording), shown to nobody else."""

    text: str


Event = (
    Output
    | ErrorOutput
    | Input
    | InputEnded
    | OutputEnded
    | Resized
    | Signalled
    | BreakSent
    | Exited
    | Killed
    | FileHandled
    | Happened
    | Noted
    | Typed
    | Masked
)
