"""What `bastion login` reads and writes on a person's machine, apart from the sign-in itself."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import asyncssh
import pytest

from cli.login import _means
from cli.login_files import Stored, config_block, write_config
from cli.login_host_key import HostKeyError, trusted_keys
from cli.login_place import Place, PlaceError, choose_place, read_remembered, remember


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ("bastion.example.com", Place(host="bastion.example.com")),
        ("bastion.example.com:2222", Place(host="bastion.example.com", port=2222)),
        ("web-1@localhost:2222", Place(host="localhost", port=2222, user="web-1")),
        ("deploy@web-1@localhost", Place(host="localhost", user="deploy@web-1")),
        ("[2001:db8::1]:2222", Place(host="2001:db8::1", port=2222)),
        ("alice@[::1]", Place(host="::1", user="alice")),
        ("10.0.0.1", Place(host="10.0.0.1")),
    ],
)
def test_a_bastion_is_named_as_for_ssh(typed: str, place: Place) -> None:
    assert choose_place(typed, None, None) == place


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "@",
        "a b",
        "host:",
        "host:0",
        "host:65536",
        "host:ssh",
        "::1",
        "-oProxyCommand=x",
        "h\nHost *",
        "[]:1",
    ],
)
def test_what_names_no_bastion_is_refused(typed: str) -> None:
    with pytest.raises(PlaceError, match="is not a bastion") as caught:
        choose_place(typed, None, None)
    assert caught.value.message.isprintable()


def test_the_last_bastion_is_remembered_and_goes_by_its_alias_too(tmp_path: Path) -> None:
    path = tmp_path / "config" / "bastion" / "login.toml"
    assert read_remembered(path) is None
    place = choose_place("web-1@localhost:2222", "lab", None)
    remember(path, place)
    assert read_remembered(path) == place
    assert choose_place(None, None, place) == choose_place("lab", None, place) == place
    assert choose_place("lab", "other", place) == Place(
        host="localhost", port=2222, user="web-1", alias="other"
    )
    assert choose_place("elsewhere", None, place) == Place(host="elsewhere")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host = 5",
        "\xff",
        'host = "h"\nport = 0\nuser = ""\nalias = "a"',
        'host = "h"\nport = 1\nuser = ""\nalias = "-"',
    ],
)
def test_a_memory_that_makes_no_sense_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "login.toml").write_text(text, encoding="latin-1")
    assert read_remembered(tmp_path / "login.toml") is None


@pytest.mark.parametrize("alias", ["", "-x", "a b", "*", "a\nHost *"])
def test_an_alias_that_ssh_would_take_for_something_else_is_refused(alias: str) -> None:
    with pytest.raises(PlaceError, match="cannot be a name"):
        choose_place("localhost", alias, None)


PLACE = Place(host="localhost", port=2222, user="web-1")


def effective(config: Path, host: str) -> dict[str, list[str]]:
    """What OpenSSH makes of a configuration."""
    out = subprocess.run(["ssh", "-G", "-F", config, host], capture_output=True, text=True, check=True).stdout
    options: dict[str, list[str]] = {}
    for line in out.splitlines():
        name, _, value = line.partition(" ")
        options.setdefault(name, []).append(value)
    return options


def test_ssh_reads_the_block_as_it_is_meant_also_with_odd_folders(tmp_path: Path) -> None:
    folder = tmp_path / "my 100% home"
    stored = Stored(key=folder / "bastion-localhost", certificate=folder / "bastion-localhost-cert.pub")
    config = tmp_path / "config"
    assert write_config(config, PLACE.alias, config_block(PLACE, stored))
    options = effective(config, "bastion")
    assert (options["hostname"], options["port"], options["user"]) == (["localhost"], ["2222"], ["web-1"])
    assert options["identitiesonly"] == ["yes"]
    named = [options[name][0].replace("%%", "%") for name in ("identityfile", "certificatefile")]
    assert named == [str(stored.key), str(stored.certificate)]


def test_long_names_of_targets_lead_through_the_bastion_unless_it_is_called_by_an_address(
    tmp_path: Path,
) -> None:
    stored = Stored(key=tmp_path / "k", certificate=tmp_path / "k-cert.pub")
    config = tmp_path / "config"
    write_config(config, "lab", config_block(Place(host="lab.example.com", alias="lab"), stored))
    assert effective(config, "web-1.lab.example.com")["proxyjump"] == ["lab"]
    assert "proxyjump" not in effective(config, "lab")
    assert "ProxyJump" not in config_block(Place(host="192.0.2.7"), stored)


def test_the_block_is_written_once_replaced_in_place_and_changes_nothing_else(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "ssh_config"
    real.parent.mkdir()
    real.write_text("ForwardAgent yes\nPort 2000\n\nHost other\n    User them\n")
    real.chmod(0o640)
    config = tmp_path / "config"
    config.symlink_to(real)
    stored = Stored(key=tmp_path / "k", certificate=tmp_path / "k-cert.pub")
    before = effective(config, "other")
    assert write_config(config, "bastion", config_block(PLACE, stored))
    assert config.is_symlink() and stat.S_IMODE(real.stat().st_mode) == 0o640
    assert effective(config, "other") == before  # the options at the top still hold for every host
    assert effective(config, "bastion")["port"] == ["2222"]
    text = real.read_text()
    assert not write_config(config, "bastion", config_block(PLACE, stored)) and real.read_text() == text
    assert write_config(config, "bastion", config_block(Place(host="elsewhere"), stored))
    assert effective(config, "bastion")["hostname"] == ["elsewhere"] and "localhost" not in real.read_text()
    assert write_config(config, "lab", config_block(Place(host="lab", alias="lab"), stored))
    assert effective(config, "bastion")["hostname"] == ["elsewhere"]
    assert effective(config, "lab")["hostname"] == ["lab"]


@pytest.mark.parametrize(
    ("environment", "platform", "options", "by_code", "opens"),
    [
        ({"DISPLAY": ":0"}, "linux", {}, False, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", {}, False, True),
        ({}, "linux", {}, False, False),
        ({}, "darwin", {}, False, True),
        ({"SSH_CONNECTION": "x"}, "linux", {}, True, False),
        ({"SSH_CONNECTION": "x", "DISPLAY": "localhost:10.0"}, "linux", {}, False, True),
        ({"SSH_CONNECTION": "x"}, "darwin", {}, True, True),
        ({"SSH_CONNECTION": "x"}, "linux", {"no_browser": True}, False, False),
        ({"DISPLAY": ":0"}, "linux", {"no_browser": True}, False, False),
        ({"DISPLAY": ":0"}, "linux", {"device": True}, True, True),
    ],
)
def test_a_browser_is_used_where_somebody_sees_it(
    environment: dict[str, str], platform: str, options: dict[str, bool], by_code: bool, opens: bool
) -> None:
    means = _means(environment, platform, **{"no_browser": False, "device": False, **options})
    assert (means.by_code, means.opens_browser) == (by_code, opens)


async def test_a_known_hosts_file_that_cannot_be_read_is_not_overlooked(tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text("@nonsense localhost ssh-ed25519 AAAA\n")
    with pytest.raises(HostKeyError, match="cannot be read"):
        await trusted_keys(PLACE, known_hosts, lambda _: pytest.fail("asked"))


async def test_hashed_names_are_found(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"[localhost]:2222 {key}")
    subprocess.run(["ssh-keygen", "-H", "-f", known_hosts], capture_output=True, check=True)
    assert "localhost" not in known_hosts.read_text()
    host_keys, _, _ = await trusted_keys(PLACE, known_hosts, lambda _: pytest.fail("asked"))
    assert [host_key.export_public_key().decode().split()[1] for host_key in host_keys] == [key.split()[1]]
