from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from bastion.config.example import example
from bastion.config.load import examine, load
from bastion.config.model import Config
from bastion.config.shape import sections_in
from bastion.config.values import EXAMPLE_RECIPIENT

FILE = Path(__file__).parents[2] / "bastion.toml.example"


def test_the_file_in_the_repository_is_what_the_model_says() -> None:
    assert FILE.read_text() == example(), "run: python -m bastion.config.example > bastion.toml.example"


def test_the_example_loads_and_equals_the_defaults() -> None:
    assert load(FILE) == Config()


def test_every_setting_that_is_commented_out_is_right_too(tmp_path: Path) -> None:
    file = tmp_path / "bastion.toml"
    text = FILE.read_text().replace(
        EXAMPLE_RECIPIENT, "age1h9uk522d6c0wgm3gvknszwvhuecd7840cm22y7kjg3qcntaq9djqady3j3"
    )
    file.write_text(re.sub(r"^#(?! |$)", "", text, flags=re.MULTILINE))
    config = load(file)
    assert (
        config.server.model_copy(update={"public_port": None, "proxy_protocol_from": ()}) == Config().server
    )
    assert (config.certificates, config.log) == (Config().certificates, Config().log)
    assert (len(config.issuers), len(config.targets), len(config.policy.rules)) == (1, 3, 1)
    paths = {problem.path for problem in examine(file).warnings}
    assert paths == {
        "issuers[0].client_secret_file",
        "targets[0].key_file",
        "targets[1].tls_ca",
        "targets[1].accounts[0].password_file",
        "targets[1].accounts[0].certificate_file",
        "targets[1].accounts[0].key_file",
        "targets[2].kubeconfig",
        "development_issuer",
        "server.public_name",
    }


def test_every_setting_is_explained() -> None:
    names = set(re.findall(r"^#?(\w+) = ", FILE.read_text(), flags=re.MULTILINE))
    assert names == set(_settings(Config))
    for line in FILE.read_text().splitlines():
        assert len(line) <= 100


def _settings(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name} is not explained"
        if not (parts := sections_in(field.annotation)):
            yield name
        for part in parts:
            yield from _settings(part)
