"""Recordings made in memory, and what tests ask of them: no folder, no clock, no chance."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from recorder.chain import Chain
from recorder.encoder import Encoder
from recorder.events import ErrorOutput, Event, Input, Output
from recorder.header import Facts, Header, Opening, encode_opening
from recorder.keys import SigningKey
from recorder.names import SessionId
from recorder.notary import Notary
from recorder.reader import Entry, Reader
from recorder.statements import Account
from recorder.verify import Verdict, verify_file

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER_KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
STARTED = 1_795_500_000.25
ID = SessionId("261124-k7f3m9q")
FACTS: Facts = {
    "user": "alice",
    "groups": ["dev", "ops"],
    "target": "web-1",
    "login": "deploy",
    "kind": "ssh",
}


def header(terminal: str | None = "xterm-256color") -> Header:
    """A header of a session on a terminal, or without one."""
    return Header(started_at=STARTED, columns=80, rows=24, terminal=terminal, facts=FACTS)


def cast(
    batches: Sequence[Sequence[Event]],
    *,
    terminal: str | None = "xterm-256color",
    key: SigningKey = KEY,
    checkpoints: Sequence[int] = (),
    is_sealed: bool = True,
) -> list[bytes]:
    """The lines of a recording: one batch each 0.1 s, a checkpoint after the batches numbered in *checkpoints*."""
    opening = Opening(id=ID, key_id=key.id, header=header(terminal))
    encoder = Encoder(shows_crlf=opening.shows_crlf)
    notary = Notary(ID, key, Chain())
    lines = notary.admit([(encode_opening(opening),)], 0) + notary.checkpoint(0)
    time = 0
    for number, batch in enumerate(batches):
        time += 100_000
        lines += notary.admit(encoder.encode(batch, time), time)
        if number in checkpoints:
            lines += notary.checkpoint(time)
    if is_sealed:
        account = Account(
            ending="exited",
            exit_status=encoder.exit_status,
            started_at=STARTED,
            ended_at=STARTED + time / 1e6,
            duration=time / 1e6,
            output_bytes=encoder.output_bytes,
            error_bytes=encoder.error_bytes,
            input_bytes=encoder.input_bytes,
        )
        lines += notary.seal(time, account)
    return lines


def read(lines: Sequence[bytes]) -> tuple[Reader, list[Entry]]:
    """Read *lines* as a file."""
    reader = Reader(io.BytesIO(b"".join(lines)))
    return reader, list(reader)


def verify(lines: Sequence[bytes], *keys: SigningKey) -> Verdict:
    """Verify *lines* as a file against *keys*, or the key of these tests."""
    with tempfile.NamedTemporaryFile(suffix=".cast") as file:
        file.write(b"".join(lines))
        file.flush()
        return verify_file(Path(file.name), [key.verify_key for key in keys or (KEY,)])


def streams(events: Sequence[Event]) -> tuple[bytes, bytes, bytes]:
    """What *events* carried of output, stderr and input."""
    kinds = (Output, ErrorOutput, Input)
    return tuple(b"".join(e.data for e in events if isinstance(e, kind)) for kind in kinds)  # type: ignore[return-value]
