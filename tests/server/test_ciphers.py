"""Connections that move much go over to the cipher that costs us least, where the client can do it."""

from __future__ import annotations

import hashlib
import random
import re

import pytest

from tests.rig.openssh import Client
from tests.rig.world import World

CHACHA, GCM = "chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com"
DATA = random.Random(7).randbytes(3_000_000)


@pytest.fixture(scope="module")
def alice(world: World) -> Client:
    return world.certified("alice")


def ciphers(log: str) -> list[str]:
    """The ciphers of each key exchange, as `ssh -v` tells of them."""
    return re.findall(r"kex: server->client cipher: (\S+)", log)


@pytest.mark.parametrize("options", [(), ("-c", f"{CHACHA},aes256-ctr,{GCM}")])
def test_client_that_moves_much_changes_to_the_fastest_cipher(
    alice: Client, options: tuple[str, ...]
) -> None:
    done = alice.run("-v", *options, "web-1@localhost", "cat; echo once more", stdin=DATA)
    assert done.status == 0, done.errors
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(DATA + b"once more\n").digest()
    assert ciphers(done.errors) == [CHACHA, GCM]


@pytest.mark.parametrize("only", [CHACHA, "aes256-ctr", "aes256-gcm@openssh.com"])
def test_client_that_has_no_faster_cipher_keeps_its_own(alice: Client, only: str) -> None:
    done = alice.run("-v", "-c", only, "web-1@localhost", "sha256sum", stdin=DATA)
    assert done.text.split()[0] == hashlib.sha256(DATA).hexdigest(), done.errors
    assert ciphers(done.errors) == [only]


def test_client_that_asks_much_changes_too(alice: Client) -> None:
    with alice.popen("-v", "web-1@localhost", "cat") as ssh:
        assert ssh.stdin and ssh.stdout and ssh.stderr
        for _ in range(200):  # in few bytes and many packets
            ssh.stdin.write(b"x")
            ssh.stdin.flush()
            assert ssh.stdout.read(1) == b"x"
        _, errors = ssh.communicate(timeout=20)
    assert ciphers(errors.decode()) == [CHACHA, GCM]


def test_client_that_moves_little_is_left_alone(alice: Client) -> None:
    done = alice.run("-v", "web-1@localhost", "head -c 500000 /dev/zero | wc -c")
    assert (done.text, ciphers(done.errors)) == ("500000\n", [CHACHA])
