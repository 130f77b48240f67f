"""What keeps a bastion from starting, and what it says then."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.rig.openssh import Finished
from tests.rig.world import World


@pytest.fixture
def stopped(own_world: World) -> World:
    own_world.bastion.stop()
    return own_world


def start(world: World) -> Finished:
    """Start the server where it must not come up."""
    done = world.bastion.run("serve", timeout=20)
    assert "Traceback" not in done.errors
    return done


@pytest.mark.parametrize("name", ["user-ca-*", "host-key", "recorder-key"])
def test_key_that_others_can_read_is_refused_with_the_command_that_mends_it(
    stopped: World, name: str
) -> None:
    path = next(path for path in (stopped.data / "keys").glob(name) if path.suffix != ".pub")
    path.chmod(0o644)
    done = start(stopped)
    assert done.status == 78
    assert f"chmod 600 {path}" in done.errors


def test_folder_of_keys_that_others_can_enter_is_refused(stopped: World) -> None:
    (stopped.data / "keys").chmod(0o755)
    done = start(stopped)
    assert done.status == 78
    assert "chmod 700" in done.errors


def test_port_that_is_taken_is_told_as_such(stopped: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stopped.bastion.port))
        taken.listen()
        done = start(stopped)
    assert done.status == 78
    assert f"cannot listen on port {stopped.bastion.port}" in done.errors


def test_error_in_the_configuration_is_told_with_its_place(stopped: World) -> None:
    with stopped.bastion.config.open("a") as config:
        config.write('\n[certificates]\nlifetime = "99h"\n')
    done = start(stopped)
    assert done.status == 78
    assert "certificates.lifetime" in done.errors


def test_second_server_on_the_same_recordings_is_refused(world: World, tmp_path: Path) -> None:
    config = tmp_path / "bastion.toml"
    text = world.bastion.config.read_text()
    config.write_text(text.replace(f"port = {world.bastion.port}", "port = 0"))
    second = type(world.bastion)(config)
    done = second.run("serve", timeout=20)
    assert done.status != 0
    assert (
        "Another server writes its recordings" in done.errors
        or "development issuer cannot listen" in done.errors
    )
