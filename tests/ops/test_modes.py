"""What start-up asks of every private file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bastion.ca.keys import is_private
from bastion.config.load import load
from bastion.config.model import Config
from bastion.errors import KeyFileError
from bastion.ops.init import Answers, initialise
from bastion.ops.modes import check_modes


@pytest.fixture
async def config(tmp_path: Path) -> Config:
    file = tmp_path / "bastion.toml"
    answers = Answers(data=tmp_path / "data", public_name="bastion.example", port=2222)
    await initialise(file, answers, now=time.time)
    return load(file)


async def test_what_init_makes_passes(config: Config) -> None:
    check_modes(config)


async def test_every_private_file_and_folder_is_asked_for_its_mode(config: Config) -> None:
    config.recordings_folder.mkdir(mode=0o700)
    private = [config.data, config.keys_folder, config.recordings_folder, config.state_file]
    private += [path for path in config.keys_folder.iterdir() if is_private(path)]
    assert config.recorder_key_file in private
    assert len(private) == 10
    for path in private:
        before = path.stat().st_mode & 0o777
        path.chmod(before | 0o044)
        with pytest.raises(KeyFileError) as refused:
            check_modes(config)
        assert refused.value.hint == f"chmod {before:o} {path}"
        path.chmod(before)


async def test_all_that_is_wrong_is_said_at_once(config: Config) -> None:
    wrong = [config.state_file, config.recorder_key_file]
    for path in wrong:
        path.chmod(0o644)
    with pytest.raises(KeyFileError) as refused:
        check_modes(config)
    assert refused.value.hint.splitlines() == [f"chmod 600 {path}" for path in wrong]
    assert len(refused.value.message.splitlines()) == 2


async def test_static_keys_and_client_secrets_are_asked_too(config: Config, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOg7klRBCQK2ccQwM864ffQ8eRT0upoLiarQ94xuu8HB"
    for added in (
        {
            "issuers": [
                {"alias": "a", "issuer": "https://a.example", "client_id": "b", "client_secret_file": secret}
            ]
        },
        {"targets": [{"name": "web-1", "address": "a", "host_keys": [host_key], "key_file": secret}]},
    ):
        changed = Config.model_validate({"data": config.data, **added})
        with pytest.raises(KeyFileError) as refused:
            check_modes(changed)
        assert refused.value.hint == f"chmod 600 {secret}"


def test_a_bastion_that_was_never_initialised_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError) as refused:
        check_modes(Config(data=tmp_path / "nothing"))
    assert refused.value.hint == "Run `bastion init` first."
