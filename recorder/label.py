"""The label of an encrypted recording: what can be known of it without a key, signed by the recorder.

It stands beside the encrypted file, and says which bytes those are, whose session it was, and how it ended; nothing of
what was typed or shown, no command. docs/recording-format.md specifies it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from recorder.errors import FormatError
from recorder.header import Facts, Header
from recorder.keys import SigningKey
from recorder.lines import LINE_LIMIT, SEAL, decode_bytes, decode_line, encode_bytes
from recorder.names import LABEL, id_in
from recorder.statements import Seal, Signed, read_seal

FACTS = (
    "user", "groups", "target", "kind", "labels", "login", "action", "path", "within", "contents",
)  # fmt: skip
"""What of the header's facts may stand in the plain: who, on what, as whom; never the command, which is content."""

_DOMAIN = b"bastion recording label 1\n"


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """The encrypted file of recording *id* has *size* bytes with the SHA-256 *sha256* (hex), and is for *recipients*.

    *key* is the id of the key that signs, *at* when it did (Unix seconds). *started_at* and *facts* are from the
    recording's header, *seal* is its last line without the line feed.
    """

    id: str
    key: str
    at: float
    size: int
    sha256: str
    recipients: tuple[str, ...]
    started_at: float
    facts: dict[str, str | list[str]]
    seal: str


_LABELS = msgspec.json.Decoder(Label)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLabel:
    """A label as it stands in its file; nothing of it is verified."""

    label: Label
    message: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LastLine:
    """The last line of a sealed recording: the seal in it, what was signed, and the chain value over all lines."""

    raw: bytes
    signed: Signed
    seal: Seal

    @property
    def chain(self) -> str:
        """The value over all lines, this one too, if the seal is right about those before it; in hex."""
        return hashlib.sha256(bytes.fromhex(self.seal.chain) + self.raw).hexdigest()


def plain_facts(header: Header) -> Facts:
    """What of the facts may stand beside the recording: all, unless it is to be encrypted."""
    return header.facts if not header.encrypt else labelled_facts(header.facts)


def labelled_facts(facts: Facts) -> dict[str, str | list[str]]:
    """What of *facts* stands in a label."""
    return {name: value for name, value in facts.items() if name in FACTS}


def read_last_line(raw: bytes) -> LastLine:
    """Take the last line of a recording apart; FormatError when it is no seal. Nothing is verified."""
    line = decode_line(0, raw)
    if line.code != SEAL:
        raise FormatError("it has no seal")
    signed, seal = read_seal(line.data, 0)
    try:
        bytes.fromhex(seal.chain)
    except ValueError:
        raise FormatError("its seal states no chain value") from None
    return LastLine(raw=raw, signed=signed, seal=seal)


def encode_label(label: Label, key: SigningKey) -> bytes:
    """The content of a label file, signed with *key*, which the label must name."""
    text = msgspec.json.encode(label)
    return encode_bytes(key.sign(_DOMAIN + text)).encode() + b" " + text + b"\n"


def label_beside(path: Path) -> Path:
    """Where the label of the encrypted file at *path* is looked for."""
    return path.with_name(id_in(path) + LABEL)


def read_label(path: Path) -> SignedLabel:
    """Take the label file at *path* apart strictly; FormatError when it is none, OSError as `open` does."""
    with path.open("rb") as file:
        content = file.read(
            4 * LINE_LIMIT
        )  # the seal is a line, and so was the header; quoting makes them longer
    signature, _, text = content[:-1].partition(b" ")
    try:
        label = _LABELS.decode(text)
        encoded = signature.decode("ascii")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path.name} is no label of a recording ({error})") from None
    if not content.endswith(b"\n"):
        raise FormatError(f"{path.name} does not end with a line feed")
    return SignedLabel(label=label, message=_DOMAIN + text, signature=decode_bytes(encoded, 1))


def recipients_of(path: Path) -> tuple[str, ...]:
    """Whom the encrypted file at *path* is for, as its label says; nobody where there is none to be read."""
    try:
        return read_label(label_beside(path)).label.recipients
    except (OSError, FormatError):  # a copy without one, or `verify` tells
        return ()


def last_line_in(label: Label) -> LastLine:
    """The recording's last line, of which the label keeps a copy; FormatError when it is no seal."""
    return read_last_line(label.seal.encode() + b"\n")
