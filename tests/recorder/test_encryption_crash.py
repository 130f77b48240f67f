"""A server that is killed anywhere between sealing and encrypting loses nothing, and there is one recording always."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path

from pyrage import decrypt, x25519

from recorder.events import Output
from recorder.recipients import Recipients
from recorder.store import Store
from tests.recorder.casts import KEY, header

ROOT = Path(__file__).parents[2]


async def sealed_and_plain(folder: Path, recipient: str) -> Path:
    """What a server leaves that dies right after the seal."""
    store = await Store.open(folder, key=KEY, recipients=Recipients.parse([recipient]))
    assert store.encryption is not None
    store.encryption.add = lambda row: None  # type: ignore[method-assign]
    recording = await store.begin(header())
    await recording.append([Output(b"0123456789\r\n" * 10_000)])
    await recording.seal("exited", 0)
    await store.close()
    return recording.path


def test_killed_anywhere_the_recording_is_there_once_and_the_next_start_finishes(tmp_path: Path) -> None:
    identity = x25519.Identity.generate()
    recipient = str(identity.to_public())
    plain = asyncio.run(sealed_and_plain(tmp_path / "origin", recipient))
    digest = hashlib.sha256(plain.read_bytes()).hexdigest()
    arguments = [str(tmp_path / "origin"), str(tmp_path / "work"), recipient]
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("killed_encryption.py"), *arguments],
        capture_output=True, timeout=100, check=False, cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    deaths = [json.loads(line) for line in done.stdout.splitlines()]
    assert {death["status"] for death in deaths[:-1]} == {-9} and deaths[-1]["status"] == 0
    seen = set()
    for death in deaths:
        died, after = death["died"], death["after"]
        assert died["bad"] == after["bad"] == [], death
        assert len(died["recording"]) == 1 and died["user"] == after["user"] == ["alice"], death
        assert died["plain"] in ([], [digest]), death
        assert death["finished"] == 0
        assert after["files"] == [f"{plain.stem}.cast.age", f"{plain.stem}.label"], death
        assert after["recording"] == [f"{plain.stem}.cast.age"]
        assert [Path(path).name for path in after["indexed"]] == after["recording"], death
        opened = decrypt(Path(after["kept"]).read_bytes(), [identity])
        assert hashlib.sha256(opened).hexdigest() == digest, death
        seen.add(frozenset(name.removeprefix(plain.stem) for name in died["files"]))
    part, label_part = f".{plain.stem}.cast.age.part", f".{plain.stem}.label.part"
    assert {
        frozenset({".cast"}),
        frozenset({".cast", part}),
        frozenset({".cast", part, label_part}),
        frozenset({".cast", part, ".label"}),
        frozenset({".cast", ".cast.age", ".label"}),
        frozenset({".cast.age", ".label"}),
    } <= seen
