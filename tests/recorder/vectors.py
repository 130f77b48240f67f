"""Named recordings, good and bad, for whoever writes a reader: `python -m tests.recorder.vectors` writes them anew.

They stand in tests/vectors/recordings with `expected.json` beside them, which says for each what a reader finds (the
line of the error, or the streams in base64) and what a verifier finds. `recorder.pub` is the key they verify with.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from recorder.errors import FormatError
from recorder.events import (
    BreakSent,
    ErrorOutput,
    Event,
    Exited,
    Input,
    InputEnded,
    Killed,
    Masked,
    Noted,
    Output,
    OutputEnded,
    Resized,
    Signalled,
    Typed,
)
from tests.recorder.casts import KEY, OTHER_KEY, cast, read, streams, verify

FOLDER = Path(__file__).parents[1] / "vectors" / "recordings"

SHELL: list[list[Event]] = [
    [Output(b"$ ")],
    [Input(b"l")],
    [Output(b"l")],
    [Input(b"s\r"), Output(b"s\r\n\x1b[34mfolder\x1b[0m\r\n$ ")],
    [Resized(120, 40), Resized(132, 43, 1056, 688), Signalled("INT"), BreakSent(500)],
    [Noted("revoked by bob"), Output("Grüße, 日本語 🙂\r\n".encode()), Exited(0)],
]
COMMAND: list[list[Event]] = [
    [Input(b"some input\n"), InputEnded()],
    [Output(b"one\ntwo\r\nthree\r"), Output(b"\n"), ErrorOutput(b"careful\n")],
    [OutputEnded(), Killed("KILL", core_dumped=True, message="out of memory")],
]
BYTES: list[list[Event]] = [
    [Output("日".encode()[:1])],
    [Output("日".encode()[1:] + "本".encode()[:2])],
    [Input(b"\x00\xff"), Output("本".encode()[2:])],
    [Output(b"caf\xe9 \xed\xa0\x80 \xf4\x90\x80\x80 \xc0\xaf\r\n"), Output(b"\xe6\xe6\xe6\xe6\xe6\xe6 end")],
    [Resized(0, 0), Resized(4294967295, 1)],
]
MASKED: list[list[Event]] = [
    [Output(b"$ ")],
    [Typed(2)],
    [Input(b"su"), Output(b"su")],
    [Input(b"\r"), Output(b"\r\nPassword: ")],
    [Typed(4)],
    [Typed(4)],
    [Masked(7), Input(b"\r"), Output(b"\r\n# ")],
]
MANY: list[list[Event]] = [[Input(b"k"), Output(b"k")] for _ in range(100)]


def good() -> dict[str, list[bytes]]:
    """Recordings as we write them."""
    return {
        "shell": cast(SHELL, checkpoints=[3]),
        "command": cast(COMMAND, terminal=None),
        "bytes": cast(BYTES),
        "masked": cast(MASKED),
        "unsealed-untold": cast(MASKED[:6], is_sealed=False),
        "binary-command": cast([[Output(bytes(range(256)))]], terminal=None),
        "empty": cast([]),
        "many-lines": cast(MANY, checkpoints=[60]),
        "unsealed": cast(SHELL, is_sealed=False),
        "unsealed-torn": [b"".join(cast(SHELL, is_sealed=False))[:-7]],
        "unsealed-half-a-pair": [*cast(SHELL, is_sealed=False), b'[9.000000,"b","o /w=="]\n'],
        "another-key": cast(SHELL, key=OTHER_KEY),
    }


def bad() -> dict[str, list[bytes]]:
    """Recordings that break a rule each, or were tampered with."""
    shell, bytes_, command = cast(SHELL), cast(BYTES), cast(COMMAND, terminal=None)

    def after_the_header(line: bytes) -> list[bytes]:
        return [*shell[:3], line, *shell[3:]]

    def patched(lines: list[bytes], old: bytes, new: bytes) -> list[bytes]:
        whole = b"".join(lines)
        assert old in whole
        return [whole.replace(old, new, 1)]

    return {
        "no-header": shell[1:],
        "other-format": patched(shell, b'"format":1', b'"format":9'),
        "version-3": patched(shell, b'"version":2', b'"version":3'),
        "wrong-newline-convention": patched(shell, b'"newline":"as is"', b'"newline":"crlf"'),
        "stock-cast": [b'{"version":2,"width":80,"height":24}\n', b'[0.1,"o","hi"]\n'],
        "comment-line": after_the_header(b"# a comment\n"),
        "empty-line": after_the_header(b"\n"),
        "not-utf-8": after_the_header(b'[0.000000,"o","\xff"]\n'),
        "lone-surrogate": after_the_header(b'[0.000000,"o","\\ud800"]\n'),
        "data-not-a-string": after_the_header(b'[0.000000,"o",5]\n'),
        "four-elements": after_the_header(b'[0.000000,"o","a","b"]\n'),
        "unknown-code": after_the_header(b'[0.000000,"z","a"]\n'),
        "negative-time": after_the_header(b'[-1.000000,"o","a"]\n'),
        "time-runs-backwards": [*shell[:5], b'[0.050000,"o","a"]\n', *shell[5:]],
        "not-a-size": after_the_header(b'[0.000000,"r","80"]\n'),
        "not-a-fact": after_the_header(b'[0.000000,"f","exited"]\n'),
        "broken-base64": after_the_header(b'[0.000000,"b","o ?"]\n[0.000000,"o","a"]\n'),
        "bytes-of-another-stream": after_the_header(b'[0.000000,"b","i eA=="]\n[0.000000,"o","x"]\n'),
        "bytes-without-display": after_the_header(b'[0.000000,"b","o eA=="]\n[0.000000,"m","x"]\n'),
        "line-feed-alone": [*command[:3], b'[0.000000,"o","a\\nb"]\n', *command[3:]],
        "more-input-than-typed": after_the_header(
            b'[0.000000,"f","{\\"is\\":\\"typed\\",\\"count\\":1}"]\n[0.000000,"i","ab"]\n'
        ),
        "after-the-seal": [*shell, b'[9.000000,"o","more"]\n'],
        "changed": patched(shell, b"folder", b"volder"),
        "changed-bytes": patched(bytes_, b'"o 5g=="', b'"o 5Q=="'),
        "dropped": [*shell[:5], *shell[6:]],
        "inserted": [*shell[:5], shell[4], *shell[5:]],
        "reordered": [*shell[:4], shell[5], shell[4], *shell[6:]],
        "cut": cast(MANY, checkpoints=[60])[:150],
        "time-of-the-seal": [*shell[:-1], b"[9" + shell[-1][2:]],
        "space-in-the-seal": [*shell[:-1], shell[-1].replace(b'"s",', b'"s", ')],
        "spare-bits": [*shell[:-1], _with_spare_bits(shell[-1])],
        "seal-of-another": [*shell[:-1], cast(COMMAND)[-1]],
    }


def _with_spare_bits(seal: bytes) -> bytes:
    """*seal* with another base64 text for the same bytes of its signature."""
    digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at = seal.index(b"==") - 1
    return seal[:at] + digits[digits.index(seal[at]) + 1 :][:1] + seal[at + 1 :]


def describe(lines: list[bytes]) -> dict[str, Any]:
    """What our reader and our verifier find."""
    found: dict[str, Any] = {}
    try:
        reader, entries = read(lines)
    except FormatError as error:
        found["error"] = {"line": error.line}
    else:
        parts = streams([entry.event for entry in entries])
        found["streams"] = dict(
            zip(
                ("output", "error", "input"), (base64.b64encode(part).decode() for part in parts), strict=True
            )
        )
        found["events"] = len(entries)
        found["sealed"] = reader.seal is not None
    verdict = verify(lines)
    found["verdict"] = {"state": verdict.state, "first": verdict.first, "last": verdict.last}
    return found


def everything() -> dict[str, bytes]:
    """Every file of the folder, by its name."""
    vectors = {f"good-{name}": lines for name, lines in good().items()} | {
        f"bad-{name}": lines for name, lines in bad().items()
    }
    expected = {name: describe(lines) for name, lines in vectors.items()}
    files = {f"{name}.cast": b"".join(lines) for name, lines in vectors.items()}
    files["expected.json"] = (json.dumps(expected, indent=2) + "\n").encode()
    files["recorder.pub"] = KEY.verify_key.pem()
    return files


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in everything().items():
        (FOLDER / name).write_bytes(content)
