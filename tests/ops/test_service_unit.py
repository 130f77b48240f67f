"""The systemd unit, as systemd itself reads it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bastion.config.model import Config
from bastion.ops.service_unit import service_unit


def settings(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def unit(port: int = 2222, data: str = "/var/lib/bastion", recordings: str | None = None) -> dict[str, str]:
    config = Config.model_validate(
        {"data": data, "server": {"port": port}, "recording": {"folder": recordings} if recordings else {}}
    )
    return settings(service_unit(config, Path("/etc/bastion/bastion.toml"), Path("/usr/bin/bastion")))


def test_it_may_write_its_own_folders_and_nothing_else() -> None:
    assert unit()["ReadWritePaths"] == "/var/lib/bastion"
    assert unit(recordings="/srv/rec %d")["ReadWritePaths"] == '"/srv/rec %%d" /var/lib/bastion'
    assert unit()["ProtectSystem"] == "strict"


def test_it_has_a_capability_only_for_a_low_port() -> None:
    assert unit()["CapabilityBoundingSet"] == ""
    assert unit(port=22)["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"


def test_homes_are_hidden_unless_it_lives_in_one() -> None:
    assert unit()["ProtectHome"] == "yes"
    assert unit(data="/home/ops/bastion")["ProtectHome"] == "read-only"


def test_sessions_have_the_time_to_end_that_the_configuration_gives() -> None:
    assert unit()["TimeoutStopSec"] == "45s"


def test_it_may_make_boxes_only_where_psql_runs_for_people() -> None:
    loosened = {
        "RestrictNamespaces": ("yes", "user mnt pid net ipc uts cgroup"),
        "RestrictAddressFamilies": ("AF_INET AF_INET6 AF_UNIX", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
        "SystemCallFilter": ("@system-service", "@system-service @mount"),
        "ProtectKernelTunables": ("yes", "no"),
    }
    target = {
        "kind": "postgres",
        "name": "orders-db",
        "address": "db",
        "databases": ["orders"],
        "accounts": [{"login": "reader"}],
    }
    with_box = Config.model_validate({"targets": [target]})
    text = service_unit(with_box, Path("/etc/bastion/bastion.toml"), Path("/usr/bin/bastion"))
    changed = {
        name: (value, settings(text)[name])
        for name, value in unit(data=str(with_box.data)).items()
        if settings(text)[name] != value
    }
    changed.pop("ReadWritePaths", None)
    assert changed == loosened


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    file = tmp_path / "bastion.service"
    text = service_unit(Config(), tmp_path / "bastion.toml", Path("/bin/true"))
    file.write_text(text.replace("User=bastion", "User=root"))  # which there is on every machine
    done = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "bastion" in line]
    assert (done.returncode, ours) == (0, [])
