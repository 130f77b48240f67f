"""Old SSH servers as targets: today's sshd, held to the algorithms that those of then offer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rig.openssh import Client
from tests.rig.sshd import Sshd
from tests.rig.world import World

OPENSSH_5_3 = (  # 2009, RHEL 6; it knows neither ed25519 nor certificates
    "KexAlgorithms diffie-hellman-group-exchange-sha256,diffie-hellman-group-exchange-sha1,"
    "diffie-hellman-group14-sha1,diffie-hellman-group1-sha1",
    "HostKeyAlgorithms ssh-rsa",
    "Ciphers aes128-ctr,aes192-ctr,aes256-ctr",
    "MACs hmac-sha1",
    "TrustedUserCAKeys none",
)
HARDENED = (  # as guides of ten years ago have it: no curves but NIST's, no GCM, no encrypt-then-MAC
    "KexAlgorithms ecdh-sha2-nistp256,diffie-hellman-group14-sha256",
    "Ciphers aes256-ctr,aes128-ctr",
    "MACs hmac-sha2-512,hmac-sha2-256",
)
SHA_1_HOST_KEY = ("HostKeyAlgorithms ssh-rsa",)  # OpenSSH up to 7.1


@pytest.fixture
def alice(world: World) -> Client:
    return world.certified("alice")


@contextmanager
def old(world: World, folder: Path, settings: tuple[str, ...], host_key: str = "rsa") -> Iterator[Sshd]:
    sshd = Sshd(folder / "web-old", name="web-old", settings=settings)
    sshd.new_host_key(host_key)
    sshd.trust_ca(*(world.web_1.folder / "trusted_cas").read_text().splitlines())
    with sshd:
        yield sshd


def add(world: World, sshd: Sshd, *options: str) -> None:
    """As a person does: the host key is scanned, and its fingerprint compared."""
    (world.folder / "targets.d/web-old.toml").unlink(missing_ok=True)
    done = world.bastion.run(
        "target", "add", "web-old", sshd.address, "--port", str(sshd.port), "--login", "deploy",
        "--fingerprint", sshd.fingerprint, *options,
    )  # fmt: skip
    assert done.status == 0, done.errors
    world.reload()


def test_a_server_of_2009_is_a_target_once_its_algorithms_are_allowed(
    world: World, alice: Client, tmp_path: Path
) -> None:
    key = world.folder / "old-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", key], check=True)
    with old(world, tmp_path, OPENSSH_5_3) as sshd:
        sshd.authorize("deploy", Path(f"{key}.pub").read_text())
        add(world, sshd, "--key-file", str(key))
        refused = alice.run("web-old@localhost", "true")
        assert refused.status == 255
        assert "web-old and the bastion have no algorithm in common" in refused.errors
        assert "legacy_algorithms = true" in refused.errors
        add(world, sshd, "--key-file", str(key), "--legacy-algorithms")
        data = os.urandom(300_000)
        done = alice.run("web-old@localhost", "cat; echo err >&2; exit 7", stdin=data)
        assert (done.status, done.stdout, done.stderr) == (7, data, b"err\n")
        (tmp_path / "data").write_bytes(data)
        copied = alice.run(str(tmp_path / "data"), "web-old@localhost:copied", program="scp")
        assert copied.status == 0, copied.errors
        assert (sshd.home("deploy") / "copied").read_bytes() == data


def test_a_server_without_sha_1_needs_no_leave(world: World, alice: Client, tmp_path: Path) -> None:
    with old(world, tmp_path, HARDENED) as sshd:
        add(world, sshd)
        assert alice.run("web-old@localhost", "hostname").text == "web-old\n"


def test_a_host_that_proves_its_key_by_sha_1_is_refused_unless_allowed(
    world: World, alice: Client, tmp_path: Path
) -> None:
    with old(world, tmp_path, SHA_1_HOST_KEY) as sshd:
        add(world, sshd)
        assert alice.run("web-old@localhost", "true").status == 255
        add(world, sshd, "--legacy-algorithms")
        assert alice.run("web-old@localhost", "hostname").text == "web-old\n"
