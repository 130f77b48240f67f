"""What the recorder signs: checkpoints while a recording grows, and the seal that ends it.

A statement is JSON text, and the signature is over the very bytes of that text after the name of its domain, so that
no verifier has to write JSON as we do, and none can take a checkpoint for a seal.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from recorder.errors import FormatError
from recorder.keys import SigningKey
from recorder.lines import CHECKPOINT, SEAL, decode_bytes, encode_bytes

_DOMAINS = {CHECKPOINT: b"bastion recording checkpoint 1\n", SEAL: b"bastion recording seal 1\n"}


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The first *lines* lines of recording *id* have the chain value *chain* (hex); signed with the key of id *key*."""

    id: str
    lines: int
    chain: str
    key: str


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """How a recording was found whose server had gone.

    *signed_lines* lines had been signed while it ran; *cut* bytes of a torn last line were taken away.
    """

    signed_lines: int
    cut: int


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a session.

    *duration* is in seconds by the monotonic clock, *started_at* and *ended_at* are by the wall clock (Unix seconds).
    """

    ending: str
    exit_status: int | None
    started_at: float
    ended_at: float
    duration: float
    output_bytes: int
    error_bytes: int
    input_bytes: int
    recovery: Recovery | None = None


class Seal(Checkpoint, frozen=True, kw_only=True):
    """A checkpoint after which nothing may come, with the account of the session."""

    session: Account


_CHECKPOINTS = msgspec.json.Decoder(Checkpoint)
_SEALS = msgspec.json.Decoder(Seal)


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement as it stands in a line."""

    statement: Checkpoint
    message: bytes
    signature: bytes


def sign(statement: Checkpoint, key: SigningKey) -> str:
    """The data of a checkpoint or seal line: the signature in base64, a space, the statement."""
    text = msgspec.json.encode(statement)
    code = SEAL if isinstance(statement, Seal) else CHECKPOINT
    return f"{encode_bytes(key.sign(_DOMAINS[code] + text))} {text.decode()}"


def read_checkpoint(data: str, number: int) -> Signed:
    """Take the data of a checkpoint line apart; the signature is not checked here."""
    return _read(CHECKPOINT, _CHECKPOINTS, data, number)


def read_seal(data: str, number: int) -> tuple[Signed, Seal]:
    """Take the data of a seal line apart; the signature is not checked here."""
    signed = _read(SEAL, _SEALS, data, number)
    assert isinstance(signed.statement, Seal)
    return signed, signed.statement


def _read(
    code: str, decoder: msgspec.json.Decoder[Checkpoint] | msgspec.json.Decoder[Seal], data: str, number: int
) -> Signed:
    signature, _, text = data.partition(" ")
    raw = text.encode()
    try:
        statement = decoder.decode(raw)
    except msgspec.DecodeError as error:
        raise FormatError(f"not a signed statement ({error})", line=number) from None
    return Signed(statement, _DOMAINS[code] + raw, decode_bytes(signature, number))
