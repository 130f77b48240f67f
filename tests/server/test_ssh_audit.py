"""ssh-audit finds nothing to fail in what the bastion offers, and one thing to warn about.

That one is key exchange without post-quantum protection, behind the hybrid that comes first: for clients that know no
other (docs/clients.md). Where the configuration shuts those out, nothing is left to warn about.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import asyncssh
import pytest

from tests.rig.openssh import Client
from tests.rig.world import World

CLASSICAL = "does not provide protection against post-quantum attacks"
MARKERS = {"kexguess2@matt.ucc.asn.au"}
"""Stand among the key exchanges and are none, which ssh-audit does not know of this one."""


@pytest.fixture(scope="module")
def report(world: World) -> dict[str, Any]:
    return audited(world)


def audited(world: World, *, rate_test: bool = False) -> dict[str, Any]:
    audit = [
        sys.executable,
        "-m",
        "ssh_audit.ssh_audit",
        "--json",
        *([] if rate_test else ["--skip-rate-test"]),
        "-p",
        str(world.bastion.port),
    ]
    done = subprocess.run([*audit, "127.0.0.1"], capture_output=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def complaints(report: dict[str, Any], kind: str) -> set[tuple[str, str]]:
    """What it fails or warns about among algorithms of that *kind*, and why."""
    assert report[kind]
    return {
        (entry["algorithm"], note)
        for entry in report[kind]
        for level in ("fail", "warn")
        for note in entry["notes"].get(level, [])
        if entry["algorithm"] not in MARKERS
    }


@pytest.mark.parametrize("kind", ["kex", "key", "enc", "mac"])
def test_nothing_offered_is_a_failure_or_a_warning(report: dict[str, Any], kind: str) -> None:
    assert {found for found in complaints(report, kind) if found[1] != CLASSICAL} == set()


def test_key_exchange_is_post_quantum_and_strict(report: dict[str, Any]) -> None:
    offered = [entry["algorithm"] for entry in report["kex"]]
    assert offered[0] == "mlkem768x25519-sha256"
    assert "kex-strict-s-v00@openssh.com" in offered


def test_version_tells_no_more_than_it_must(report: dict[str, Any]) -> None:
    assert report["banner"]["raw"] == "SSH-2.0-bastion"


def reconfigured(world: World, settings: str) -> None:
    config = world.bastion.config
    config.write_text(config.read_text().replace("[server]\n", f"[server]\n{settings}\n", 1))
    world.bastion.stop()
    world.bastion.start()


def test_connections_come_no_faster_than_it_allows_where_penalties_count(own_world: World) -> None:
    reconfigured(own_world, 'penalty_exempt = ["127.0.0.2/32"]')
    assert "throttling" not in str(audited(own_world, rate_test=True)["additional_notes"])
    assert own_world.bastion.log.count("connection.refused") == 1


def test_without_clients_that_know_no_better_there_is_nothing_to_warn_about(own_world: World) -> None:
    alice = own_world.certified("alice")
    reconfigured(own_world, "post_quantum_only = true")
    report = audited(own_world)
    assert [complaints(report, kind) for kind in ("kex", "key", "enc", "mac")] == [set()] * 4
    refused = alice.run("-o", "KexAlgorithms=curve25519-sha256", "web-1@localhost", "true")
    assert "no matching key exchange method" in refused.errors
    assert asyncio.run(hostname_by_asyncssh(alice)) == "web-1\n"


async def hostname_by_asyncssh(alice: Client) -> str:
    """From a client that knows the exchange, as OpenSSH does from 9.9 on."""
    async with asyncssh.connect(
        "localhost", alice.port, username="web-1", config=None, agent_path=None,
        known_hosts=str(alice.known_hosts), client_keys=[(str(alice.key), str(alice.certificate))],
    ) as connection:  # fmt: skip
        return str((await connection.run("hostname")).stdout)
