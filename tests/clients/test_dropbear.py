"""Dropbear as a target: it knows no certificates, so the bastion has a static key for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import need
from tests.rig.openssh import Client
from tests.rig.process import end, free_port, wait_until
from tests.rig.sshd import Sshd, installation
from tests.rig.world import World


@pytest.fixture
def embedded(own_world: World, tmp_path: Path) -> Iterator[World]:
    """A world in which the target `web-embedded` is a dropbear with the account `deploy` of web-1."""
    program, world, port = need("dropbear"), own_world, free_port()
    host_key, key, log = tmp_path / "host_key", world.folder / "embedded-key", tmp_path / "log"
    made = subprocess.run(
        [need("dropbearkey"), "-t", "ed25519", "-f", host_key], capture_output=True, text=True, check=True
    )
    public = next(line for line in made.stdout.splitlines() if line.startswith("ssh-ed25519"))
    client = Client(tmp_path / "key", port=port)
    shutil.copy(client.key, key)
    world.web_1.authorize("deploy", client.public_key)
    with log.open("wb") as stderr:
        dropbear = subprocess.Popen(
            [program, "-F", "-E", "-e", "-s", "-r", host_key, "-p", f"127.0.0.1:{port}", "-P", tmp_path / "pid"],
            stderr=stderr, env={**os.environ, **as_deploy(world.web_1)},
        )  # fmt: skip
    try:
        wait_until(lambda: b"Not backgrounding" in log.read_bytes(), "dropbear")
        targets = world.bastion.config.with_name("targets.d")
        (targets / "embedded.toml").write_text(
            f'[[targets]]\nname = "web-embedded"\naddress = "127.0.0.1"\nport = {port}\nlogin = "deploy"\n'
            f'host_keys = ["{" ".join(public.split()[:2])}"]\nkey_file = "{key}"\n'
        )
        world.bastion.stop()
        world.bastion.start()
        yield world
    finally:
        end(dropbear)


def as_deploy(target: Sshd) -> dict[str, str]:
    """The environment in which the account database is that of *target*."""
    return {
        "LD_PRELOAD": str(installation().wrapper),
        "NSS_WRAPPER_PASSWD": str(target.folder / "passwd.deploy"),
        "NSS_WRAPPER_GROUP": str(target.folder / "group"),
    }


def test_dropbear_as_a_target(embedded: World, tmp_path: Path) -> None:
    alice = embedded.certified("alice")
    data = os.urandom(500_000)
    done = alice.run("web-embedded@localhost", "cat; echo err >&2; exit 7", stdin=data)
    assert (done.status, done.stdout, done.stderr) == (7, data, b"err\n")
    terminal = alice.spawn("web-embedded@localhost", rows=30, columns=90)
    terminal.sendline("stty size; exit 4")
    terminal.expect("30 90")
    terminal.wait()
    assert terminal.exitstatus == 4
    (tmp_path / "data").write_bytes(data)
    copied = alice.run("-O", str(tmp_path / "data"), "web-embedded@localhost:copied", program="scp")
    assert copied.status == 0, copied.errors
    assert (embedded.web_1.home("deploy") / "copied").read_bytes() == data
