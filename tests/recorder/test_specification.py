"""docs/recording-format.md is enough to write a reader and a verifier from: this one knows nothing else.

It imports nothing of ours, and finds in each named recording what our own programs find.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

FOLDER = Path(__file__).parents[1] / "vectors" / "recordings"
SPECIFICATION = Path(__file__).parents[2] / "docs" / "recording-format.md"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
LIMIT = 4_194_304


class Refused(Exception):
    """The file breaks the format."""


def parse(raw: bytes) -> tuple[float, str, str]:
    """Section 1: a line."""
    try:
        line = json.loads(raw.decode(), parse_constant=lambda name: {})
    except ValueError:
        raise Refused from None
    if not (isinstance(line, list) and len(line) == 3 and isinstance(line[0], float | int) and line[0] >= 0):
        raise Refused
    if not (
        isinstance(line[1], str) and len(line[1]) == 1 and line[1] in "oirmbfhks" and isinstance(line[2], str)
    ):
        raise Refused
    if re.search("[\ud800-\udfff]", line[2]):
        raise Refused
    return line[0], line[1], line[2]


def unbase64(text: str) -> bytes:
    """Section 1: base64 in the one way there is to write it."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused from None
    if base64.b64encode(data).decode() != text:
        raise Refused
    return data


def lines_of(content: bytes) -> list[bytes]:
    """The whole lines; what follows the last line feed is torn."""
    lines = content.split(b"\n")[:-1]
    return [line + b"\n" for line in lines]


def header_of(raw: bytes) -> dict[str, Any]:
    """Section 2."""
    try:
        line = json.loads(raw)
        ours = line["bastion"]
    except (ValueError, KeyError, TypeError):
        raise Refused from None
    if line["version"] != 2 or ours["format"] != 1:
        raise Refused
    if ours["newline"] != ("crlf" if ours["terminal"] is None else "as is"):
        raise Refused
    return ours  # type: ignore[no-any-return]


def shown(text: str, ours: dict[str, Any]) -> bytes:
    """Section 4: the bytes that the text of an `o` line stands for."""
    if ours["newline"] == "crlf":
        if re.search(r"(?<!\r)\n", text):
            raise Refused
        text = text.replace("\r\n", "\n")
    return text.encode()


def exactly(said: str, code: str, text: str, ours: dict[str, Any]) -> tuple[str, bytes]:
    """Section 4: the stream and bytes of a line with a `b` line in front (no *code*: look at that one alone)."""
    stream, _, exact = said.partition(" ")
    if code and code != {"o": "o", "e": "o", "i": "i", "r": "r"}.get(stream):
        raise Refused
    if stream == "r":
        return stream, b""
    return stream, unbase64(exact) if exact else shown(text, ours)


def told_of(code: str, data: str, untold: int) -> int:
    """Section 5, "Masked input": by how much a line changes the number of bytes that are untold."""
    fact = json.loads(data) if code == "f" else {}
    if fact.get("is") == "typed":
        return int(fact["count"])
    if untold and fact.get("is") == "masked":
        return -int(fact["count"])
    return -len(data.encode()) if untold and code == "i" else 0


def streams(content: bytes) -> dict[str, bytes]:
    """Section 4: what the file holds of each stream."""
    lines = lines_of(content)
    ours = header_of(lines[0] if lines else b"")
    got = {"o": b"", "e": b"", "i": b"", "r": b""}
    said: str | None = None
    last, is_sealed, untold = 0.0, False, 0
    for raw in lines[1:]:
        time, code, data = parse(raw)
        if time < last or is_sealed:
            raise Refused
        last, is_sealed = time, code == "s"
        if code in "ks":
            unbase64(data.partition(" ")[0])
        if said is not None:
            stream, data_of_line = exactly(said, code, data, ours)
            got[stream] += data_of_line
            said = None
        elif code == "b":
            said = data
            exactly(said, "", "", ours)
        elif code in "oi":
            got[code] += shown(data, ours) if code == "o" else data.encode()
        elif (code == "r" and not re.fullmatch(r"\d+x\d+", data)) or (code == "f" and data[:1] != "{"):
            raise Refused
        untold += told_of(code, data, untold)
        if untold < 0:
            raise Refused
    return {"output": got["o"], "error": got["e"], "input": got["i"]}


def key_id(key: Ed25519PublicKey) -> str:
    """Section 6: the name of a key."""
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    number = int.from_bytes(hashlib.sha256(raw).digest()[:10], "big")
    return "rk-" + "".join("0123456789abcdefghjkmnpqrstvwxyz"[number >> 5 * n & 31] for n in range(16))


def chain(lines: list[bytes]) -> Iterator[bytes]:
    """Section 6: c(0), c(1), ..."""
    value = bytes(32)
    yield value
    for line in lines:
        value = hashlib.sha256(value + line).digest()
        yield value


def line_of(raw: bytes, statement: dict[str, Any], data: str) -> bytes:
    """Section 6: how the line of a seal stands; later lines vouch for that of a checkpoint."""
    if "session" not in statement:
        return raw
    escaped = data.replace("\\", "\\\\").replace('"', '\\"')
    return f'[{statement["session"]["duration"]:.6f},"s","{escaped}"]\n'.encode()


def verify(content: bytes, key: Ed25519PublicKey) -> str:
    """Section 6, "To verify"."""
    lines = lines_of(content)
    values = list(chain(lines))
    try:
        ours = header_of(lines[0])
        unknown = False
        untagged = 1
        sealed_at = None
        for number, raw in enumerate(lines[1:], 2):
            _, code, data = parse(raw)
            if sealed_at is not None:
                return "changed"
            if code == "h":
                first, _, tags = data.partition(" ")
                covered = b"".join(value[:3] for value in values[untagged:number])
                if int(first) != untagged or unbase64(tags) != covered:
                    return "changed"
                untagged = number
            elif code in "ks":
                signature, _, text = data.partition(" ")
                statement = json.loads(text)
                kind = {"k": b"checkpoint", "s": b"seal"}[code]
                if statement["key"] != key_id(key):
                    unknown = True
                else:
                    message = b"bastion recording " + kind + b" 1\n" + text.encode()
                    key.verify(unbase64(signature), message)
                    if (statement["id"], statement["lines"]) != (ours["id"], number - 1):
                        return "changed"
                    if statement["chain"] != values[number - 1].hex() or raw != line_of(raw, statement, data):
                        return "changed"
                sealed_at = number if code == "s" else None
    except (Refused, InvalidSignature, IndexError):
        return "changed"
    return "unknown key" if unknown else "sealed" if sealed_at else "unsealed"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_reader_made_from_the_specification_finds_what_ours_finds(name: str) -> None:
    content = (FOLDER / f"{name}.cast").read_bytes()
    if "error" in EXPECTED[name]:
        with pytest.raises(Refused):
            streams(content)
    else:
        found = {stream: base64.b64encode(data).decode() for stream, data in streams(content).items()}
        assert found == EXPECTED[name]["streams"]


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "bad-stock-cast"])
def test_a_verifier_made_from_the_specification_finds_what_ours_finds(name: str) -> None:
    key = load_pem_public_key((FOLDER / "recorder.pub").read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    state = verify((FOLDER / f"{name}.cast").read_bytes(), key)
    expected = EXPECTED[name]["verdict"]["state"]
    # Rules about lines in a row (time, pairs, facts) are the reader's; there the tags of the file are what fails.
    assert state == expected


def test_the_lines_in_the_specification_are_lines() -> None:
    examples = re.findall(r"^    (\[\d.*?\])(?:  .*)?$", SPECIFICATION.read_text(), re.MULTILINE)
    assert len(examples) >= 6
    for example in examples:
        parse(example.encode())
