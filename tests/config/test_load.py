from __future__ import annotations

from pathlib import Path

import pytest

from bastion.config.load import examine, load
from bastion.config.model import Config
from bastion.errors import ConfigError
from tests.config.conftest import TARGET, Write


def problems(file: Path) -> list[str]:
    """Every error as `path: message`."""
    return [f"{problem.path}: {problem.message}" for problem in examine(file).errors]


def test_an_empty_file_is_all_defaults(write: Write) -> None:
    assert load(write("")) == Config()


def test_targets_beside_the_file_join_those_in_it(write: Write) -> None:
    file = write(
        TARGET,
        b=TARGET.replace("web-1", "b-1") + TARGET.replace("web-1", "b-2"),
        a=TARGET.replace("web", "a"),
    )
    assert [target.name for target in load(file).targets] == ["web-1", "a-1", "b-1", "b-2"]


def test_what_is_being_written_and_what_is_no_toml_is_left_alone(write: Write, tmp_path: Path) -> None:
    file = write(TARGET, a=TARGET.replace("web", "a"))
    (tmp_path / "targets.d" / ".b.toml").write_text("half [")
    (tmp_path / "targets.d" / "a.toml~").write_text("half [")
    assert len(load(file).targets) == 2


def test_relative_paths_count_from_the_folder_of_their_file(write: Write, tmp_path: Path) -> None:
    file = write(
        """
        data = "data"
        [recording]
        folder = "/srv/recordings"
        [[issuers]]
        alias = "corp"
        issuer = "https://login.example.com"
        client_id = "bastion"
        client_secret_file = "corp.secret"
        """,
        a=TARGET + 'key_file = "a.key"',
    )
    config = load(file)
    assert config.data == tmp_path / "data"
    assert config.state_file == tmp_path / "data" / "state.db"
    assert config.recordings_folder == Path("/srv/recordings")
    assert config.issuers[0].client_secret_file == tmp_path / "corp.secret"
    assert config.targets[0].private_files == [tmp_path / "targets.d" / "a.key"]


def test_paths_are_absolute_whatever_the_working_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('data = "data"')
    monkeypatch.chdir(tmp_path)
    assert load(Path("bastion.toml")).data == tmp_path / "data"


def test_all_errors_are_reported_at_once_each_with_its_place(write: Write) -> None:
    file = write(
        """
        [server]
        port = "22"
        adress = "::1"
        [certificates]
        lifetime = "13h"
        [[issuers]]
        alias = "A!"
        issuer = "http://x.example"
        [[targets]]
        name = "web-1"
        address = "192.0.2.7"
        port = 70000
        [[targets]]
        name = "sessions"
        address = "192.0.2.7"
        [[policy.rules]]
        name = "r"
        groups = ["*"]
        targets = ["*"]
        logins = ["{group}"]
        actions = ["shell", "fly"]
        """,
        a='[[targets]]\nname = "a"\naddress = "a:22"\n',
    )
    assert problems(file) == [
        "server.port: must be a whole number",
        "server.adress: there is no such setting",
        "certificates.lifetime: must be from 1m to 12h",
        "issuers[0].alias: use lower-case letters, digits and '-', at most 16 of them",
        "issuers[0].issuer: use https; with http, anybody on the way can sign in as anybody",
        "issuers[0].client_id: is missing",
        "targets[0].port: must be at most 65535",
        "targets[1].name: 'sessions' is a command of the bastion; choose another name",
        "policy.rules[0].logins[0]: the only placeholder in a login is {user}",
        "policy.rules[0].actions[1]: must be 'shell', 'exec', 'sftp', 'connect', 'forward',"
        " 'listen', 'agent' or 'x11'",
        "targets[0].address: write the port in 'port', not in the address",
    ]


def test_what_is_sound_beside_an_error_is_checked_too_and_keeps_its_place(write: Write) -> None:
    """The broken targets[0] and [2] are left out; [1] and [3] are compared under their own numbers."""
    broken = '[[targets]]\nname = "UP"\naddress = "x"\n'
    file = write(broken + TARGET + broken + TARGET)
    assert "targets[3].name: targets[1] is a target with this name already" in problems(file)


def test_an_unknown_key_inside_an_element_does_not_hide_its_other_errors(write: Write) -> None:
    file = write('[[targets]]\nname = "a"\naddress = "x"\nhost_key = ["x"]\n')
    found = problems(file)
    assert found[0] == "targets[0].host_key: there is no such setting"
    assert found[1].startswith("targets[0]: has neither host_keys nor host_ca")


def test_errors_of_the_second_look_are_reported_too(write: Write) -> None:
    """A rule's settings are looked at together only once each is right for itself."""
    file = write('[[policy.rules]]\nname = "r"\ngroups = ["*"]\nbogus = 1\n')
    assert problems(file) == [
        "policy.rules[0].bogus: there is no such setting",
        'policy.rules[0]: say which targets it allows: targets = ["…"] or labels = { … }; "*" is every target',
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[server]\nprot = 1", "Did you mean port?"),
        ("[serverr]\nport = 1", "Did you mean server?"),
        ("port = 1", "port is a setting of [server]."),
        ('client_id = "x"', "client_id is a setting of [[issuers]]."),
        ('[server]\ndata = "x"', "data is a setting of the whole file: write it above the first [section]."),
        ("[log]\nzzz = 1", "Known here: format, level."),
        ("[policy]\n[[policy.rule]]\nname = 'x'", "Did you mean rules?"),
    ],
)
def test_an_unknown_setting_is_answered_with_what_was_meant(write: Write, text: str, hint: str) -> None:
    (problem,) = examine(write(text)).errors
    assert (problem.message, problem.hint) == ("there is no such setting", hint)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("log = 4", "must be a section with settings of its own", "Write [log] above them."),
        ("[targets]\nname = 'x'", "must be a list", "Write [[targets]], with two brackets."),
        ("[[issuers]]", "is missing", 'For example: alias = "corp"'),
        ("data = 4", "must be text", "Write it in quotes."),
    ],
)
def test_a_wrong_shape_is_answered_with_the_right_one(
    write: Write, text: str, message: str, hint: str
) -> None:
    problem = examine(write(text)).errors[0]
    assert problem.message == message
    assert problem.hint.endswith(hint)


def test_a_syntax_error_tells_line_and_column(write: Write) -> None:
    (problem,) = examine(write("[server]\nport = \n")).errors
    assert problem.message.startswith("line 2, column 8: this is not TOML: ")


def test_a_syntax_error_at_the_end_tells_so(write: Write) -> None:
    (problem,) = examine(write('data = "x')).errors
    assert "this is not TOML" in problem.message


def test_a_missing_file_points_to_init(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "bastion.toml")
    assert "there is no such file" in refused.value.message
    assert "bastion init" in refused.value.hint


def test_files_that_are_no_text_or_no_files_are_errors_not_tracebacks(write: Write, tmp_path: Path) -> None:
    file = write("")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(file)
    with pytest.raises(ConfigError, match="this is a folder"):
        load(tmp_path)


def test_a_broken_file_of_targets_is_named_and_the_rest_still_checked(write: Write) -> None:
    file = write("[server]\nport = 70000\n", a="[[targets", b='[[targets]]\nname = "B"\n')
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert "  server.port = 70000: must be at most 65535" in refused.value.message
    assert "  targets.d/a.toml: at the end: this is not TOML" in refused.value.message
    assert '  targets.d/b.toml: targets[0].name = "B": use lower-case' in refused.value.message


def test_only_targets_may_stand_beside_the_file(write: Write) -> None:
    (problem,) = examine(write("", a="[server]\nport = 1")).errors
    assert (problem.file.name, problem.path, problem.hint) == ("a.toml", "server", "Known here: targets.")


def test_a_file_that_everybody_can_write_is_refused(write: Write) -> None:
    file = write("")
    file.chmod(0o666)
    (problem,) = examine(file).errors
    assert problem.hint == f"Mend it with: chmod o-w {file}"


def test_values_that_may_be_secret_are_not_repeated(write: Write) -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\\nZm9v\\n"
    file = write(
        f"""
        client_secret = "hunter2"
        [[issuers]]
        alias = "corp"
        client_id = "x"
        issuer = "https://me:hunter2@login.example.com"
        [[targets]]
        name = "a"
        address = "x"
        host_keys = ["{key}"]
        """
    )
    found = examine(file).errors
    assert len(found) == 3
    assert not any("hunter2" in str(problem) or "Zm9v" in str(problem) for problem in found)


def test_a_value_cannot_steer_the_terminal_that_shows_it(write: Write) -> None:
    (problem,) = examine(write('[log]\nlevel = "\\u001b[2J"')).errors
    assert problem.value == '"\\x1b[2J"'
