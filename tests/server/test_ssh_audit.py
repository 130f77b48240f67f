"""ssh-audit finds nothing to fail in what the bastion offers, and one thing to warn about.

That one is key exchange without post-quantum protection, behind the hybrid that comes first: OpenSSH before 9.9 knows
no other that asyncssh could offer without liboqs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.rig.world import World


@pytest.fixture(scope="module")
def report(world: World) -> dict[str, Any]:
    audit = [
        sys.executable,
        "-m",
        "ssh_audit.ssh_audit",
        "--json",
        "--skip-rate-test",
        "-p",
        str(world.bastion.port),
    ]
    done = subprocess.run([*audit, "127.0.0.1"], capture_output=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


CLASSICAL = "does not provide protection against post-quantum attacks"


@pytest.mark.parametrize("kind", ["kex", "key", "enc", "mac"])
def test_nothing_offered_is_a_failure_or_a_warning(report: dict[str, Any], kind: str) -> None:
    assert report[kind]
    notes = {
        (entry["algorithm"], note)
        for entry in report[kind]
        for level in ("fail", "warn")
        for note in entry["notes"].get(level, [])
        if note != CLASSICAL
    }
    assert notes == set()


def test_key_exchange_is_post_quantum_and_strict(report: dict[str, Any]) -> None:
    offered = [entry["algorithm"] for entry in report["kex"]]
    assert offered[0] == "mlkem768x25519-sha256"
    assert "kex-strict-s-v00@openssh.com" in offered


def test_version_tells_no_more_than_it_must(report: dict[str, Any]) -> None:
    assert report["banner"]["raw"] == "SSH-2.0-bastion"
