from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastion.config.load import TargetsFile, load
from bastion.config.targets import SshTarget
from bastion.config.write import literal, target_toml, write_target
from bastion.errors import ConfigError
from tests.config.conftest import HOST_KEY, Write

WEB = SshTarget(
    name="web-1",
    address="2001:db8::7",
    description='Says "hi" \\ in ünïcode',
    labels={"env": "staging", 'a "key"': "x"},
    host_keys=(HOST_KEY, HOST_KEY),
    connect_timeout=timedelta(seconds=90),
)


def test_a_written_target_is_loaded_back_the_same(write: Write) -> None:
    config_file = write("")
    file = write_target(config_file, WEB)
    assert file == config_file.parent / "targets.d" / "web-1.toml"
    assert load(config_file).targets == (WEB,)


def test_a_written_target_is_readable_for_all_and_nothing_is_left_beside_it(write: Write) -> None:
    file = write_target(write(""), WEB)
    assert file.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in file.parent.iterdir()] == ["web-1.toml"]


def test_settings_with_their_defaults_are_not_written() -> None:
    assert target_toml(SshTarget(name="a", address="b")) == '[[targets]]\nname = "a"\naddress = "b"\n'


def test_a_target_is_not_overwritten_unless_asked(write: Write) -> None:
    config_file = write("")
    write_target(config_file, WEB)
    moved = WEB.model_copy(update={"address": "192.0.2.1"})
    with pytest.raises(ConfigError, match="there already"):
        write_target(config_file, moved)
    assert load(config_file).targets == (WEB,)
    write_target(config_file, moved, replace=True)
    assert load(config_file).targets == (moved,)


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "targets.d").write_text("a file in the place of the folder")
    with pytest.raises(ConfigError, match=r"targets\.d"):
        write_target(tmp_path / "bastion.toml", WEB)


@pytest.mark.parametrize("keys", [(), ("ssh-ed25519 AAAA",)])
def test_a_target_that_would_break_the_configuration_is_not_written(
    write: Write, keys: tuple[str, ...]
) -> None:
    config_file = write("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_target(config_file, WEB.model_copy(update={"host_keys": keys}))
    assert not (config_file.parent / "targets.d").exists()


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(texts, texts), st.lists(texts))
def test_whatever_stands_in_labels_and_keys_is_escaped(labels: dict[str, str], keys: list[str]) -> None:
    target = SshTarget(name="a", address="b", labels=labels, host_keys=tuple(keys))
    assert TargetsFile.model_validate(tomllib.loads(target_toml(target))).targets == (target,)


@given(
    st.recursive(
        st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
        lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    )
)
def test_a_literal_is_one_line_of_toml(value: object) -> None:
    text = literal(value)
    assert tomllib.loads(f"x = {text}") == {"x": value}
    assert "\n" not in text
