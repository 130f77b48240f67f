from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest

from bastion.config.load import examine
from bastion.config.values import EXAMPLE_RECIPIENT
from tests.config.conftest import HOST_KEY, TARGET, Write

ISSUER = """
[[issuers]]
alias = "corp"
issuer = "https://login.example.com"
client_id = "bastion"
"""
RULE = """
[[policy.rules]]
name = "all"
groups = ["*"]
targets = ["*"]
logins = ["*"]
"""
DSA_KEY = asyncssh.generate_private_key("ssh-dss").export_public_key().decode().strip()
SOUND = "[server]\npublic_name = 'bastion.example.com'\n" + ISSUER + TARGET + RULE


def found(file: Path) -> list[tuple[str, str, str]]:
    return [(problem.severity, problem.path, problem.message) for problem in examine(file).problems]


def test_a_sound_configuration_has_no_problems(write: Write) -> None:
    assert found(write(SOUND)) == []


@pytest.mark.parametrize(
    ("addition", "path", "message"),
    [
        (TARGET, "targets[1].name", "targets[0] is a target with this name already"),
        (RULE, "policy.rules[1].name", "policy.rules[0] is a rule with this name already"),
        (
            ISSUER.replace("login.", "other."),
            "issuers[1].alias",
            "issuers[0] is an issuer with this alias already",
        ),
        (
            ISSUER.replace("corp", "b"),
            "issuers[1].issuer",
            "issuers[0] is an issuer with this issuer already",
        ),
    ],
)
def test_names_that_must_tell_things_apart_are_unique(
    write: Write, addition: str, path: str, message: str
) -> None:
    assert found(write(SOUND + addition)) == [("error", path, message)]


def test_a_duplicate_in_another_file_names_that_file(write: Write) -> None:
    (problem,) = examine(write(SOUND, web=TARGET)).errors
    assert problem.file.name == "web.toml"
    assert problem.message == "targets[0] in bastion.toml is a target with this name already"


def test_a_target_without_host_keys_is_refused_and_scan_is_named(write: Write) -> None:
    file = write(SOUND.replace(f'host_keys = ["{HOST_KEY}"]', ""))
    (problem,) = examine(file).errors
    assert problem.path == "targets[0]"
    assert "bastion target scan web-1" in problem.hint


def test_a_host_ca_stands_in_for_host_keys(write: Write) -> None:
    assert found(write(SOUND.replace("host_keys", "host_ca"))) == []


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("ssh-ed25519 AAAA", "this is not a public key"),
        (HOST_KEY[:-4], "this is not a public key"),
        ("", "must be one key on one line"),
        (f"{HOST_KEY}\\n{HOST_KEY}", "must be one key on one line"),
        (f"web-1 {HOST_KEY}", "has something before the key"),
        (f"@cert-authority * {HOST_KEY}", "this is not a public key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "this is a private key"),
        (DSA_KEY, "is of a kind that proves nothing here"),
    ],
)
def test_host_keys_must_be_keys(write: Write, key: str, message: str) -> None:
    assert found(write(SOUND.replace(HOST_KEY, key))) == [("error", "targets[0].host_keys[0]", message)]


def test_a_key_may_carry_a_comment(write: Write) -> None:
    assert found(write(SOUND.replace(HOST_KEY, f"{HOST_KEY} root@web-1 2026"))) == []


def test_files_that_are_not_there_are_warned_about(write: Write) -> None:
    file = write(SOUND.replace("port", "port").replace(TARGET, TARGET + "key_file = 'nowhere'\n"))
    assert found(file) == [
        ("warning", "targets[0].key_file", "the file cannot be used: no such file or directory")
    ]


def test_what_is_missing_altogether_is_warned_about(write: Write) -> None:
    assert [path for _, path, _ in found(write(""))] == [
        "issuers",
        "targets",
        "policy.rules",
        "server.public_name",
    ]


def test_nothing_is_called_missing_when_errors_hide_it(write: Write) -> None:
    assert found(write('[[issuers]]\nalias = "corp"\nclient_id = "x"\nissuer = "x"')) == [
        ("error", "issuers[0].issuer", "write the whole URL, such as https://login.example.com")
    ]


DEVELOPMENT = """
[development_issuer]
[[development_issuer.people]]
user = "alice"
"""


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_the_development_issuer_is_at_home_on_loopback(write: Write, address: str) -> None:
    assert found(write(f"[server]\naddress = '{address}'\n" + DEVELOPMENT + TARGET + RULE)) == []


@pytest.mark.parametrize("address", ["", "0.0.0.0", "192.0.2.1", "bastion.example.com"])
def test_the_development_issuer_anywhere_else_is_warned_about(write: Write, address: str) -> None:
    text = f"[server]\npublic_name = 'b.example.com'\naddress = '{address}'\n" + DEVELOPMENT + TARGET + RULE
    ((severity, path, message),) = found(write(text))
    assert (severity, path) == ("warning", "development_issuer")
    assert "asks nobody for a password" in message


def test_the_development_issuer_beside_a_real_one_is_warned_about(write: Write) -> None:
    text = "[server]\naddress = '::1'\n" + ISSUER + DEVELOPMENT + TARGET + RULE
    ((_, _, message),) = found(write(text))
    assert message.startswith("stands beside real issuers")


def test_the_development_issuer_has_a_port_and_people_of_its_own(write: Write) -> None:
    person = '[[development_issuer.people]]\nuser = "alice"\n'
    text = (
        "[server]\naddress = '::1'\n" + DEVELOPMENT.replace("issuer]\n", "issuer]\nport = 2222\n", 1) + person
    )
    assert found(write(text + TARGET + RULE)) == [
        ("error", "development_issuer.port", "is the port of the server too"),
        ("error", "development_issuer.people[1].user", "is there already"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        ('targets = ["*"]', 'targets = ["web-?", "db-*"]', "policy.rules[0].targets[1]", "matches no target"),
        ('targets = ["*"]', 'targets = ["WEB-1"]', "policy.rules[0].targets[0]", "matches no target"),
        (
            '["*"]\nlogins',
            '["*"]\nlabels = { env = "x" }\nlogins',
            "policy.rules[0].labels",
            "no target that",
        ),
        ('logins = ["*"]', "logins = []", "policy.rules[0]", 'the rule "all" never matches: empty logins'),
        ('targets = ["*"]', "targets = []", "policy.rules[0]", "never matches: empty targets and labels"),
        ('groups = ["*"]', "groups = []", "policy.rules[0]", "never matches: empty groups and users"),
    ],
)
def test_a_rule_that_can_never_match_is_warned_about(
    write: Write, old: str, new: str, path: str, message: str
) -> None:
    (warning,) = examine(write(SOUND.replace(old, new))).problems
    assert (warning.severity, warning.path) == ("warning", path)
    assert message in warning.message


def test_an_auditor_of_no_target_is_warned_about(write: Write) -> None:
    text = SOUND + "\n[[policy.auditors]]\ngroups = ['audit']\ntargets = ['db-*']\n"
    assert found(write(text)) == [("warning", "policy.auditors[0].targets[0]", "matches no target")]


def test_a_default_login_that_no_rule_allows_is_warned_about(write: Write) -> None:
    text = SOUND.replace('logins = ["*"]', 'logins = ["deploy", "{user}-adm"]')
    with_login = text.replace(TARGET, TARGET + "login = 'root'\n")
    assert found(write(with_login)) == [("warning", "targets[0].login", "no rule allows this login there")]
    assert found(write(with_login.replace("'root'", "'alice-adm'"))) == []


def test_networks_for_a_flow_that_is_off_are_warned_about(write: Write) -> None:
    text = SOUND.replace(ISSUER, ISSUER + "device_flow = false\ndevice_flow_from = ['10.0.0.0/8']\n")
    assert found(write(text)) == [
        ("warning", "issuers[0].device_flow_from", "has no effect while device_flow is false")
    ]


def test_encryption_to_the_key_of_the_example_is_refused(write: Write) -> None:
    text = f"{SOUND}\n[recording]\nencrypt_to = ['{EXAMPLE_RECIPIENT}']\n"
    message = "is the key of the example: what is encrypted to it nobody can read"
    assert found(write(text)) == [("error", "recording.encrypt_to[0]", message)]


@pytest.mark.parametrize(
    ("settings", "words"), [("search = false", "while search is false"), ("", "without encrypt_to")]
)
def test_text_that_is_kept_of_nothing_is_warned_about(write: Write, settings: str, words: str) -> None:
    text = f"{SOUND}\n[recording]\nsearch_encrypted = true\n{settings}\n"
    assert found(write(text)) == [("warning", "recording.search_encrypted", f"has no effect {words}")]
