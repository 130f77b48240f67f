from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import main

SOUND = """
[server]
address = "127.0.0.1"
[development_issuer]
[[development_issuer.people]]
user = "alice"
[[targets]]
name = "web-1"
address = "127.0.0.1"
host_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOg7klRBCQK2ccQwM864ffQ8eRT0upoLiarQ94xuu8HB"]
[[policy.rules]]
name = "all"
groups = ["*"]
targets = ["*"]
logins = ["*"]
"""


def check(tmp_path: Path, text: str, *arguments: str) -> int:
    file = tmp_path / "bastion.toml"
    file.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(file), "check", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_sound_configuration_is_said_to_be_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path, SOUND) == 0
    assert capsys.readouterr().out == f"{tmp_path}/bastion.toml: all is well (1 target, 1 rule)\n"


def test_errors_come_before_warnings_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SOUND.replace('"127.0.0.1"', '"192.0.2.1"', 1) + '[[targets]]\nname = "b"\naddress = "b"\n'
    assert check(tmp_path, text) == 78
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("error    targets[1]: has neither host_keys nor host_ca")
    assert lines[1] == "           Run bastion target scan b, compare, and put what it prints into host_keys."
    assert lines[2].startswith("warning  development_issuer: asks nobody for a password")
    assert lines[-1] == f"{tmp_path}/bastion.toml: cannot be used (1 error, 2 warnings)"


def test_warnings_alone_are_no_failure_unless_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SOUND.replace('targets = ["*"]', 'targets = ["*", "db-*"]')
    assert check(tmp_path, text) == 0
    assert capsys.readouterr().out.endswith("can be used (1 warning)\n")
    assert check(tmp_path, text, "--strict") == 78


def test_json_has_every_problem_with_its_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "targets.d").mkdir()
    (tmp_path / "targets.d" / "b.toml").write_text('[[targets]]\nname = "B"\naddress = "b"\n')
    assert check(tmp_path, SOUND, "--json") == 78
    assert json.loads(capsys.readouterr().out) == {
        "file": f"{tmp_path}/bastion.toml",
        "usable": False,
        "problems": [
            {
                "severity": "error",
                "file": f"{tmp_path}/targets.d/b.toml",
                "path": "targets[0].name",
                "value": '"B"',
                "message": "use lower-case letters, digits, '.', '_' and '-', at most 64 of them,"
                " a letter or digit at both ends",
                "hint": "",
            }
        ],
    }


def test_a_problem_in_a_file_of_targets_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "targets.d").mkdir()
    (tmp_path / "targets.d" / "b.toml").write_text("[[")
    assert check(tmp_path, SOUND) == 78
    assert capsys.readouterr().out.startswith("error    targets.d/b.toml: ")


def test_a_missing_file_is_told_not_raised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(tmp_path / "none.toml"), "check"])
    assert ended.value.code == 78
    assert "there is no such file" in capsys.readouterr().out
