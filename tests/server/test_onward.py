"""The onward connection: whose name the target logs, what it trusts, and what it is told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.reader import open_recording
from tests.rig.openssh import Client
from tests.rig.sshd import Sshd
from tests.rig.world import World
from tests.server.recorded import rows


def add_target(world: World, name: str, lines: str) -> None:
    """Put a target into targets.d and have the running bastion read it."""
    file = world.folder / "targets.d" / f"{name}.toml"
    file.write_text(f'[[targets]]\nname = "{name}"\naddress = "127.0.0.1"\nlogin = "deploy"\n{lines}\n')
    world.reload()


@pytest.fixture
def web_3(world: World, tmp_path: Path) -> Iterator[Sshd]:
    """A third target that trusts no CA of ours."""
    with Sshd(tmp_path / "web-3", name="web-3", logins=("deploy",)) as sshd:
        yield sshd


@pytest.fixture
def alice(world: World) -> Client:
    return world.certified("alice")


def test_log_of_the_target_names_the_person_and_the_session(alice: Client, world: World) -> None:
    assert alice.run("web-1@localhost", "true").status == 0
    session = rows(world)[0]["id"]
    world.web_1.wait_for_log(f"ID u:alice/session:{session} (serial ")


def test_key_of_the_bastion_is_another_one_each_time(alice: Client, world: World) -> None:
    for _ in range(2):
        assert alice.run("web-1@localhost", "true").status == 0
    world.web_1.wait_for_log("ID u:alice")
    keys = [
        line.split("ED25519-CERT ")[1].split()[0]
        for line in world.web_1.log.splitlines()
        if "Accepted publickey" in line
    ]
    assert len(keys) >= 2
    assert len(keys) == len(set(keys))


def test_static_key_signs_in_where_the_target_cannot_trust_a_ca(
    alice: Client, world: World, web_3: Sshd
) -> None:
    key = world.folder / "web-3-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    web_3.authorize("deploy", Path(f"{key}.pub").read_text())
    add_target(world, "web-3", f'port = {web_3.port}\nhost_keys = ["{web_3.host_key}"]\nkey_file = "{key}"')
    assert alice.run("web-3@localhost", "whoami").text == "deploy\n"


def test_static_key_that_others_can_read_is_refused(alice: Client, world: World, web_3: Sshd) -> None:
    key = world.folder / "open-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    add_target(world, "web-3", f'port = {web_3.port}\nhost_keys = ["{web_3.host_key}"]\nkey_file = "{key}"')
    key.chmod(0o644)
    done = alice.run("web-3@localhost", "true")
    assert done.status != 0
    assert str(key) not in done.errors  # where keys lie is not for users
    assert rows(world)[0]["ending"] == "target refused"


def test_host_certificate_of_a_ca_on_record_is_trusted_and_another_is_not(
    alice: Client, world: World, web_3: Sshd, tmp_path: Path
) -> None:
    for name in ("right", "wrong"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    right, wrong = (
        " ".join((tmp_path / f"{name}.pub").read_text().split()[:2]) for name in ("right", "wrong")
    )
    web_3.certify_host_key(tmp_path / "right")
    web_3.stop()
    web_3.start()
    web_3.trust_ca(*world.bastion.run("ca", "show", "target").text.splitlines())
    add_target(world, "web-3", f'port = {web_3.port}\nhost_ca = ["{right}"]')
    done = alice.run("web-3@localhost", "hostname")
    assert (done.status, done.text) == (0, "web-3\n"), done.errors
    add_target(world, "web-3", f'port = {web_3.port}\nhost_ca = ["{wrong}"]')
    refused = alice.run("web-3@localhost", "hostname")
    assert refused.status == 255
    assert "the host key of web-3 is not the one on record" in refused.errors


def test_only_the_named_variables_of_the_environment_reach_the_target_and_stand_in_the_recording(
    alice: Client, world: World
) -> None:
    settings = ["-o", "SetEnv=LC_TEST=kept LD_PRELOAD=/tmp/evil.so BASH_ENV=/tmp/evil LANG=C.UTF-8"]
    done = alice.run(*settings, "web-1@localhost", "echo $LC_TEST $LANG; env | grep -c evil")
    assert done.text == "kept C.UTF-8\n0\n"
    with open_recording(world.recordings[-1]) as recording:
        assert recording.header.facts["environment"] == ["LC_TEST=kept", "LANG=C.UTF-8"]


def test_check_says_which_targets_let_the_bastion_in(world: World) -> None:
    good = world.bastion.run("target", "check", "web-1")
    assert (good.status, good.text) == (0, "web-1: ok (as deploy)\n")
    bad = world.bastion.run("target", "check", "web-1", "--login", "nobody-here")
    assert bad.status == 1
    assert "refused to let the bastion sign in as nobody-here" in bad.text


def test_scan_shows_which_host_keys_are_on_record(world: World) -> None:
    done = world.bastion.run("target", "scan", "web-1")
    assert done.status == 0
    assert done.text.startswith(f"recorded  {world.web_1.fingerprint}")
