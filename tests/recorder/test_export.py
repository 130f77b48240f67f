"""Recordings in other forms: what players read, what people read, what programs read, and evidence."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import shutil
import subprocess
import zipfile
import zlib
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from recorder.events import (
    ErrorOutput,
    Event,
    Exited,
    FileHandled,
    Happened,
    Input,
    Killed,
    Masked,
    Noted,
    Output,
    Resized,
    Typed,
)
from recorder.export import write_text, write_v2, write_v3
from recorder.export_bundle import write_bundle
from recorder.export_events import write_json, write_raw
from recorder.export_page import write_page
from recorder.keys import VerifyKey
from recorder.redaction import PATTERNS
from recorder.verify import verify_file
from tests.recorder.casts import ID, KEY, OTHER_KEY, cast

KEY_ID = "AKIA" + "IOSFODNN7EXAMPLE"
HOSTILE = b"</pre></script><script>document.title='owned'</script><img src=x onerror=alert(1)>]]>--><!--\r\n"
SESSION: list[list[Event]] = [
    [Output(b"$ ")],
    [Typed(2)],
    [Input(b"ls"), Output(b"ls")],
    [Input(b"\r"), Output(b"\r\n\x1b[34mfolder\x1b[0m\r\nPassword: ")],
    [Typed(8)],
    [Masked(7), Input(b"\r"), Output(b"\r\n\xff\xfe")],
    [Resized(100, 30), Noted("revoked by bob")],
    [Output(HOSTILE)],
    [Output(b"key " + KEY_ID[:9].encode())],
    [Output(KEY_ID[9:].encode() + b"\r\n"), Output("日本語 🙂\r\n".encode())],
    [Exited(3)],
]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / f"{ID}.cast"
    path.write_bytes(b"".join(cast(SESSION)))
    return path


def exported(write: Any, path: Path, *, redacts: bool = False) -> bytes:
    out = io.BytesIO()
    write(path, out, secrets=PATTERNS if redacts else ())
    return out.getvalue()


def lines(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.decode().splitlines()]


def test_v2_is_the_recording_itself(recording: Path) -> None:
    assert exported(write_v2, recording) == recording.read_bytes()


def test_redacted_v2_is_what_players_show_without_secrets_and_without_evidence(recording: Path) -> None:
    header, *events = lines(exported(write_v2, recording, redacts=True))
    assert (header["version"], header["width"], "bastion" in header) == (2, 80, False)
    assert {code for _, code, _ in events} == {"o", "i", "r", "m"}
    shown = "".join(data for _, code, data in events if code == "o")
    assert "key [redacted: aws-key]\r\n日本語" in shown and KEY_ID[:9] not in shown
    assert [data for _, code, data in events if code == "i"] == ["ls", "\r", "\r"]


def test_v3_has_intervals_that_add_up_and_the_exit_status(recording: Path) -> None:
    header, *events = lines(exported(write_v3, recording))
    assert header == {
        "version": 3,
        "term": {"cols": 80, "rows": 24, "type": "xterm-256color"},
        "timestamp": 1795500000,
        "title": "deploy@web-1 by alice",
    }
    assert events[-1][1:] == ["x", "3"]
    assert sum(interval for interval, _, _ in events) == pytest.approx(1.1)
    assert [data for _, code, data in events if code in "rm"] == ["100x30", "revoked by bob"]


def test_program_that_a_signal_ended_has_the_status_a_shell_would_give(tmp_path: Path) -> None:
    path = tmp_path / "x.cast"
    path.write_bytes(b"".join(cast([[Killed("KILL")]], terminal=None)))
    assert lines(exported(write_v3, path))[-1][1:] == ["x", "137"]


def test_transcript_is_text_without_escape_sequences(recording: Path) -> None:
    text = exported(write_text, recording).decode()
    assert "\x1b" not in text
    shown = [
        line for line in text.splitlines() if line != "revoked by bob"
    ]  # a note has no line on the screen
    assert shown[:3] == ["$ ls", "folder", "Password:"]
    assert f"key {KEY_ID}" in text
    assert "key [redacted: aws-key]" in exported(write_text, recording, redacts=True).decode()


def test_transcript_ends_with_what_happened_beside_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.cast"
    facts: list[list[Event]] = [
        [
            Output(b"Forwarding.\n"),
            FileHandled("sent", "/a", size=3, result="ok"),
            Noted("files: sent /a 3 bytes"),
        ],
        [Happened("connection", "db-7:5432", {"id": 1, "origin": "127.0.0.1"})],
        [Happened("sql", f"select '{KEY_ID}'\n\x1b]0;x\x07", {"rows": 2, "error": None})],
        [Happened("end", "db-7:5432", {"id": 1, "sent": 12})],
    ]
    path.write_bytes(b"".join(cast(facts, terminal=None)))
    shown, happened = exported(write_text, path).decode().split("\nWhat happened:\n")
    assert sorted(shown.splitlines()) == ["Forwarding.", "files: sent /a 3 bytes"]
    assert happened.splitlines() == [
        "0:00.200  connection  db-7:5432  [id=1, origin=127.0.0.1]",
        f"0:00.300  sql         select '{KEY_ID}' \ufffd]0;x\ufffd  [rows=2]",
        "0:00.400  end         db-7:5432  [id=1, sent=12]",
    ]
    assert "select '[redacted: aws-key]'" in exported(write_text, path, redacts=True).decode()


def test_transcript_of_what_is_all_on_the_screen_has_no_such_end(recording: Path) -> None:
    assert "What happened" not in exported(write_text, recording).decode()


def test_json_has_every_event_exactly(recording: Path) -> None:
    began, *events = lines(exported(write_json, recording))
    assert (began["event"], began["id"], began["facts"]["user"]) == ("began", ID, "alice")
    assert {"time": 0.2, "event": "typed", "length": 2} in events
    assert {"time": 0.6, "event": "masked", "length": 7} in events
    assert {"time": 0.6, "event": "output", "base64": base64.b64encode(b"\r\n\xff\xfe").decode()} in events
    assert {"time": 1.1, "event": "exited", "status": 3} in events
    assert (events[-1]["event"], events[-1]["session"]["exit_status"]) == ("sealed", 3)


def test_raw_is_the_exact_bytes_of_each_stream(tmp_path: Path) -> None:
    path = tmp_path / "x.cast"
    chunks = [b"\xe6\x97", b"\xa5\n\0", b"\xff" * 10]
    path.write_bytes(
        b"".join(cast([[Output(c), ErrorOutput(c[::-1]), Input(c)] for c in chunks], terminal=None))
    )
    write_raw(path, tmp_path / "raw", secrets=())
    assert (tmp_path / "raw/output.bin").read_bytes() == b"".join(chunks)
    assert (tmp_path / "raw/error.bin").read_bytes() == b"".join(c[::-1] for c in chunks)
    assert (tmp_path / "raw/input.bin").read_bytes() == b"".join(chunks)
    events = json.loads((tmp_path / "raw/events.json").read_text())
    assert [(e["offset"], e["length"]) for e in events if e["event"] == "output"] == [
        (0, 2), (2, 1), (3, 2), (5, 10)
    ]  # fmt: skip


@pytest.mark.parametrize("write", [write_v2, write_v3, write_text, write_json, write_page])
def test_what_is_redacted_is_in_no_form_of_the_session(write: Any, recording: Path) -> None:
    content = exported(write, recording, redacts=True)
    assert KEY_ID[9:].encode() not in content + session_in_page(content)


def test_statements_are_redacted_with_their_parameters(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.cast"
    path.write_bytes(b"".join(cast([[Happened("sql", f"SELECT '{KEY_ID}'", {"$1": KEY_ID, "rows": 1})]])))
    content = exported(write_json, path, redacts=True)
    assert KEY_ID.encode() not in content
    assert content.count(b"[redacted: aws-key]") == 2


def test_raw_is_redacted_as_well(recording: Path, tmp_path: Path) -> None:
    write_raw(recording, tmp_path / "raw", secrets=PATTERNS)
    assert b"key [redacted: aws-key]\r\n" in (tmp_path / "raw/output.bin").read_bytes()


def test_bundle_verifies_with_what_is_in_it(recording: Path, tmp_path: Path) -> None:
    with (tmp_path / "bundle.zip").open("xb") as out:
        verdict = write_bundle(recording, out, keys=[KEY.verify_key, OTHER_KEY.verify_key])
    assert verdict.state == "sealed"
    with zipfile.ZipFile(tmp_path / "bundle.zip") as bundle:
        bundle.extractall(tmp_path)
    folder = tmp_path / ID
    assert (folder / f"{ID}.cast").read_bytes() == recording.read_bytes()
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert {path.name for path in folder.iterdir()} == {
        "README.txt", "SHA256SUMS", "seal.json", "keys", f"{ID}.cast"
    }  # fmt: skip
    keys = [VerifyKey.load(path) for path in (folder / "keys").iterdir()]
    assert verify_file(folder / f"{ID}.cast", keys).state == "sealed"
    assert f"bastion verify --key keys/{KEY.id}.pub" in (folder / "README.txt").read_text()
    assert json.loads((folder / "seal.json").read_text())["seal"]["session"]["ending"] == "exited"


class _Structure(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"] or ""
        assert "src" not in values and "href" not in values


def session_in_page(page: bytes) -> bytes:
    found = re.search(rb'<pre id="recording" hidden>\n([A-Za-z0-9+/=\n]*)</pre>', page)
    return zlib.decompress(base64.b64decode(found[1]), wbits=31) if found else b""


def test_page_holds_the_session_and_nothing_of_it_becomes_html(recording: Path) -> None:
    page = exported(write_page, recording)
    structure = _Structure()
    structure.feed(page.decode())
    assert structure.tags.count("script") == 2 and "img" not in structure.tags
    assert session_in_page(page) == exported(write_v3, recording)
    assert b"document.title='owned'" not in page


def test_page_runs_its_own_two_scripts_only_and_fetches_nothing(recording: Path) -> None:
    page = exported(write_page, recording).decode()
    structure = _Structure()
    structure.feed(page)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(digests) == 2
    assert "default-src 'none'" in structure.policy
    assert "unsafe-eval" not in structure.policy.replace("'wasm-unsafe-eval'", "")
    assert all(f"'sha256-{digest}'" in structure.policy for digest in digests)


def test_names_of_the_session_are_escaped_in_the_page(tmp_path: Path) -> None:
    path = tmp_path / "x.cast"
    raw = b"".join(cast(SESSION, is_sealed=False))
    path.write_bytes(raw.replace(b'"user":"alice"', b'"user":"<script>alert(1)</script>\\u202e"'))
    page = exported(write_page, path).decode()
    assert "<script>alert" not in page and html.escape("<script>alert(1)</script>") in page
    assert "\u202e" not in page


def test_vendored_player_is_as_published_and_cannot_end_its_script() -> None:
    vendor = files("recorder") / "vendor"
    readme = (vendor / "README.md").read_text()
    sums = re.findall(r"^    ([0-9a-f]{64})  (\S+)$", readme, re.MULTILINE)
    assert len(sums) == 3
    for digest, name in sums:
        content = vendor.joinpath(*name.split("/")).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert not re.search(rb"</(script|style)", content)


def test_page_plays_offline_in_a_browser(recording: Path, tmp_path: Path) -> None:
    """Chromium opens it from the disk, runs the player, and draws the first words of the session."""
    if (chromium := shutil.which("chromium") or shutil.which("google-chrome")) is None:
        pytest.skip("no chromium here (apt install chromium)")
    path = tmp_path / "x.cast"
    path.write_bytes(b"".join(cast([[Output(b"first words \x1b[32mgreen\x1b[0m\r\n" + HOSTILE)], *SESSION])))
    page = tmp_path / "page.html"
    page.write_bytes(exported(write_page, path))
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=5000", f"--screenshot={tmp_path / 'page.png'}", "--window-size=1100,900",
            "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "ap-player" in done.stdout, done.stderr
    assert "first words" in re.sub(r"<[^>]*>", "", done.stdout), done.stdout[-3000:]
    assert "<title>deploy@web-1 by alice</title>" in done.stdout
