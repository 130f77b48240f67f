"""Secrets in recordings: found however they are cut and coloured, in linear time, and nothing else is."""

from __future__ import annotations

import io
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.catalog import read_row
from recorder.events import FileHandled, Happened, Input, Noted, Output
from recorder.header import Header
from recorder.reader import Sinks, rebuild_streams
from recorder.redaction import PATTERNS, Redaction, StreamRedactor, find_secrets, mark, redact
from recorder.store import Store
from tests.recorder.casts import FACTS, KEY, STARTED

SECRETS = {
    "aws-key": "AKIA" + "IOSFODNN7EXAMPLE",
    "aws-secret": "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "gcp-key": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "gcp-token": "ya29." + "a0AfH6SMBx1234567890abcdef",
    "azure-key": "AccountKey=" + "A" * 86 + "==",
    "azure-secret": "abc8Q~" + "d" * 34,
    "azure-signature": "https://x.blob.example/c?sv=1&sig=" + "a%2Fb" * 10,
    "github-token": "ghp_" + "a1B2" * 9,
    "gitlab-token": "glpat-" + "xYz12" * 4,
    "slack-token": "xoxb-" + "123456789012-abcdefABCDEF",
    "slack-webhook": "https://hooks.slack.com/services/" + "T00000000/B00000000/" + "X" * 24,
    "stripe-key": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "npm-token": "npm_" + "a" * 36,
    "vault-token": "hvs." + "C" * 30,
    "jwt": "eyJhbGciOiJIUzI1NiJ9."
    + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "bearer-token": "Authorization: Bearer " + "abcdef0123456789abcdef",
    "basic-authorization": "authorization: basic " + "dXNlcjpodW50ZXIy",
    "url-password": "postgres://app:" + "hunter2@db.example/x",
    "card-number": "4111 1111 1111 1111",
}
INNOCENT = [
    "1795500000.250000 4111111111111112 1234567890123456",
    "git commit 3d6e01085aa7f1e0c2b1d8f3a9e6c5b4d7f8a901",
    "-----BEGIN CERTIFICATE-----\r\nMIIB\r\n-----END CERTIFICATE-----\r\n",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOg7klRBCQK2ccQwM864ffQ8eRT0upoLiarQ94xuu8HB alice",
    "https://user@example.com:8080/path bearer of bad news",
    "drwxr-xr-x 2 root root 4096 Nov 24 07:17 sk_live",
]


def private_key(folder: Path, *arguments: str) -> str:
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", str(folder / "key"), *arguments], check=True)
    return (folder / "key").read_text()


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted(min(cut, len(text)) for cut in cuts)
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def stream(parts: list[str]) -> list[str]:
    redactor: StreamRedactor[int] = StreamRedactor()
    out = [pair for number, part in enumerate(parts) for pair in redactor.feed(number, "output", part)]
    out += redactor.finish()
    assert [number for number, _ in out] == list(range(len(parts)))
    return [text for _, text in out]


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_is_found_and_marked(kind: str) -> None:
    text = f"before {SECRETS[kind]} after"
    redacted = redact(text)
    assert mark(kind) in redacted
    assert redacted.startswith("before ") and redacted.endswith(" after")
    assert SECRETS[kind] not in redacted


def test_every_pattern_has_its_example() -> None:
    assert {pattern.kind for pattern in PATTERNS} == {*SECRETS, "private-key"}


@pytest.mark.parametrize(
    "arguments", [["-t", "ed25519"], ["-t", "rsa", "-b", "2048", "-m", "PEM"], ["-t", "rsa", "-m", "PKCS8"]]
)
def test_private_keys_that_ssh_keygen_makes_are_found_whole(tmp_path: Path, arguments: list[str]) -> None:
    key = private_key(tmp_path, *arguments).replace("\n", "\r\n")
    assert redact(f"$ cat key\r\n{key}$ ").strip() == "$ cat key\r\n[redacted: private-key]\r\n$"


def test_private_key_whose_end_is_missing_is_taken_as_far_as_it_goes(tmp_path: Path) -> None:
    lines = private_key(tmp_path, "-t", "ed25519").splitlines()
    redacted = redact("\r\n".join([*lines[:4], "$ echo the rest of the session stays"]))
    assert lines[2] not in redacted and redacted.endswith("$ echo the rest of the session stays")


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@given(st.sampled_from(sorted(SECRETS)), st.lists(st.integers(0, 200), max_size=8))
def test_secret_cut_into_packets_is_found_all_the_same(kind: str, cuts: list[int]) -> None:
    text = f"before {SECRETS[kind]} after"
    assert "".join(stream(pieces(text, cuts))) == redact(text)


def test_secret_echoed_key_by_key_between_other_events_is_found() -> None:
    redactor: StreamRedactor[str] = StreamRedactor()
    out = []
    for char in SECRETS["aws-key"] + " ":
        out += [*redactor.feed("i", "input", char), *redactor.feed("o", "output", char)]
    out += redactor.finish()
    for name in "io":
        assert "".join(text for item, text in out if item == name) == "[redacted: aws-key] "


def test_colours_inside_a_secret_do_not_hide_it_and_stay() -> None:
    key = SECRETS["aws-key"]
    assert redact(f"\x1b[31m{key[:4]}\x1b[0m{key[4:]}!") == "\x1b[31m[redacted: aws-key]\x1b[0m!"


def test_long_streams_are_given_back_while_they_run_and_changed_only_where_they_must_be() -> None:
    redactor: StreamRedactor[int] = StreamRedactor()
    given_back: list[tuple[int, str]] = []
    for number in range(3000):
        text = SECRETS["jwt"] + "\r\n" if number % 500 == 250 else f"line {number} of a quiet session\r\n"
        given_back += redactor.feed(number, "output", text)
        assert number - len(given_back) < 2000
    given_back += redactor.finish()
    assert [number for number, _ in given_back] == list(range(3000))
    assert sum(text == mark("jwt") + "\r\n" for _, text in given_back) == 6
    assert sum(text.startswith("line ") for _, text in given_back) == 2994


@given(st.lists(st.text("ab\x1b[m 0"), max_size=6))
def test_text_without_secrets_is_given_back_as_it_was(parts: list[str]) -> None:
    assert stream(parts) == parts


@pytest.mark.parametrize(
    "text",
    [
        "eyJ" * 60_000, "4111 " * 40_000, "-----BEGIN PRIVATE KEY-----" * 8_000, "Bearer " * 30_000,
        "a://b:" * 30_000,
        "-" * 200_000, "0" * 200_000, "\x1b[" * 100_000, "\x1b]" * 100_000,
        "PuTTY-User-Key-File-2: " * 2_000, "ghp_" * 50_000,
        "aws_secret_key" * 15_000, "-----BEGIN PRIVATE KEY-----\n" + "A" * 200_000, "sig=" * 50_000,
    ],
)  # fmt: skip
def test_no_text_makes_a_pattern_slow(text: str) -> None:
    """Generous for a slow machine: what is quadratic here takes minutes."""
    before = time.process_time()
    redact(text)
    assert time.process_time() - before < 10


def test_before_writing_what_comes_in_one_piece_is_replaced() -> None:
    redaction = Redaction()
    key = SECRETS["aws-key"].encode()
    events = redaction.take([Output(b"key=" + key + b"\xff\r\n"), Noted("n"), Input(key)])
    assert events == [Output(b"key=[redacted: aws-key]\xff\r\n"), Noted("n"), Input(b"[redacted: aws-key]")]


def test_before_writing_the_rest_of_a_secret_that_began_earlier_is_replaced(tmp_path: Path) -> None:
    lines = private_key(tmp_path, "-t", "ed25519").splitlines(keepends=True)
    redaction = Redaction()
    written = b"".join(
        event.data
        for line in lines
        for event in redaction.take([Output(line.encode())])
        if isinstance(event, Output)
    )
    for line in lines[1:-1]:
        assert line.strip().encode() not in written
    assert b"[redacted: private-key]" in written


def test_spans_that_overlap_are_one() -> None:
    spans = find_secrets("Authorization: Bearer " + SECRETS["jwt"])
    assert len(spans) == 1


async def test_a_recording_that_redacts_holds_no_secret_and_says_so(folder: Path) -> None:
    store = await Store.open(folder, key=KEY)
    secret = SECRETS["aws-key"]
    try:
        facts = {**FACTS, "command": f"deploy {secret}", "environment": [f"LC_KEY={secret}"]}
        recording = await store.begin(
            Header(started_at=STARTED, columns=80, rows=24, terminal="xterm", facts=facts, redacted=True)
        )
        await recording.append([Output(f"id {secret}\r\n".encode()), Noted(f"note {secret}")])
        await recording.append([Happened("sql", f"select '{secret}'", {"$1": secret, "rows": 1})])
        await recording.append([FileHandled("remove", f"/tmp/{secret}")])
        await recording.seal("exited", 0)
    finally:
        await store.close()
    assert secret.encode() not in recording.path.read_bytes()
    assert read_row(folder, recording.path).command == "deploy [redacted: aws-key]"
    assert b'"redacted":true' in recording.path.read_bytes()
    sinks = Sinks(output=io.BytesIO(), error=io.BytesIO(), input=io.BytesIO())
    rebuild_streams(recording.path, sinks)
    assert isinstance(sinks.output, io.BytesIO)
    assert sinks.output.getvalue() == b"id [redacted: aws-key]\r\n"
