"""What a client asked for when it opened a session channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ACCEPTED_ENVIRONMENT = (b"LANG", b"LC_", b"COLORTERM", b"NO_COLOR")
"""Variables a client may send on (those with a trailing underscore as prefixes), as sshd's AcceptEnv would."""

MAX_ENVIRONMENT = 32
"""Variables kept of what a client sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pty:
    """A pseudo-terminal as requested: TERM, size in characters and pixels, and RFC 4254 terminal modes."""

    terminal: str
    columns: int
    rows: int
    pixel_width: int = 0
    pixel_height: int = 0
    modes: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class X11Request:
    """Windows on the client's screen (RFC 4254 section 6.3). Its client made the cookie, and checks it."""

    protocol: bytes
    cookie: bytes
    screen: int
    is_single: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """What a session is for: a shell, a command or a subsystem, with or without a terminal; a connection for a person's
    own client; or connections forwarded from the client's side, or listened for on the target's; or the log of a
    container (*command* is then `logs` and its options).

    *program* is what to run as it is, word by word, where a client said it so and not as a line for a shell; empty, it
    is what runs there already. Without *takes_input* the program gets none.
    """

    kind: Literal["shell", "exec", "subsystem", "connection", "forward", "listen", "logs"]
    command: str = ""
    pty: Pty | None = None
    environment: Mapping[bytes, bytes] = field(default_factory=dict)
    agent: bool = False
    x11: X11Request | None = None
    program: tuple[str, ...] | None = None
    takes_input: bool = True


def accepted_environment(variables: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Keep what `ACCEPTED_ENVIRONMENT` names, at most `MAX_ENVIRONMENT` of it."""
    kept = {
        name: value
        for name, value in variables.items()
        if any(name.startswith(a) if a.endswith(b"_") else name == a for a in ACCEPTED_ENVIRONMENT)
    }
    return dict(list(kept.items())[:MAX_ENVIRONMENT])
