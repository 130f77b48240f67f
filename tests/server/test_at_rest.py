"""A bastion that encrypts what it records: what its people and its auditors can do with it then."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.recorded import events, rows

pytestmark = pytest.mark.skipif(shutil.which("age") is None, reason="needs age (scripts/clients)")


def tool(*words: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run(words, check=True, capture_output=True, timeout=20, input=stdin).stdout


def test_an_encrypted_session_is_listed_verified_fetched_and_opened_by_who_has_the_key(
    own_world: World, tmp_path: Path
) -> None:
    key = tmp_path / "key.txt"
    tool("age-keygen", "-o", key)
    public = tool("age-keygen", "-y", key).decode().strip()
    own_world.configure(f'[recording]\nencrypt_to = ["{public}"]', restart=True)
    alice, carol = own_world.certified("alice"), own_world.certified("carol")
    alice.run("web-1@localhost", "echo the quick brown fox")
    session = str(rows(own_world)[0]["id"])
    wait_until(lambda: not own_world.recordings, "the recording encrypted")
    (file,) = (own_world.data / "recordings").rglob("*.cast.age")

    listed = carol.run("localhost", "sessions").text
    assert session in listed and "exited 0" in listed and "quick" not in listed
    assert carol.run("localhost", "verify", session).text.startswith(f"{session}  encrypted: ")
    for word in ("play", "follow"):
        for client in (alice, carol):
            refused = client.run("localhost", word, session)
            assert refused.status == 78 and "encrypted, and the bastion cannot read it" in refused.errors
            assert public in refused.errors and f"fetch {session} > {file.name}; age -d" in refused.errors
    assert events(own_world, "recording.played") == []
    searched = carol.run("localhost", "search", "quick")
    assert searched.status == 1 and "1 encrypted session" in searched.errors

    fetched = carol.run("localhost", "fetch", session)
    assert fetched.status == 0 and fetched.stdout == file.read_bytes()
    event = events(own_world, "recording.fetched")[0]
    assert (event["user"], event["session"]) == ("carol", session)
    bob = own_world.certified("bob").run("localhost", "fetch", session)
    assert bob.status == 66 and bob.stdout == b""
    opened = tmp_path / "opened.cast"
    opened.write_bytes(tool("age", "-d", "-i", key, stdin=fetched.stdout))
    assert b"the quick brown fox" in tool(Path(sys.executable).with_name("asciinema"), "cat", opened)
    played = own_world.bastion.run("play", session[-5:], "--identity", str(key))
    assert played.text == "the quick brown fox\r\n"
    assert own_world.bastion.run("verify", "--all", "--identity", str(key)).status == 0
