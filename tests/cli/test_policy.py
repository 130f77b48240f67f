from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bastion.state.grants import new_grant
from bastion.state.store import State
from cli.main import main

CONFIG = """
data = "data"
[[targets]]
name = "web-1"
address = "192.0.2.1"
labels = { env = "prod" }
host_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOg7klRBCQK2ccQwM864ffQ8eRT0upoLiarQ94xuu8HB"]
[[targets]]
kind = "postgres"
name = "orders-db"
address = "192.0.2.2"
databases = ["orders", "archive"]
accounts = [{ login = "reader", role = "orders_reader", password_file = "reader.password" }]
[sessions]
idle_timeout = "1h"
[[policy.rules]]
name = "developers"
groups = ["developers"]
targets = ["web-*"]
logins = ["deploy", "root"]
[[policy.rules]]
name = "staging"
groups = ["developers"]
labels = { env = "staging" }
logins = ["*"]
[[policy.rules]]
name = "analysts"
groups = ["analysts"]
targets = ["orders-db"]
logins = ["reader", "owner"]
idle_timeout = "10m"
postgres = { databases = ["orders"], read_only = true, statement_timeout = "5m" }
[[policy.rules]]
name = "no-root"
effect = "deny"
groups = ["*"]
logins = ["root"]
"""


def explain(tmp_path: Path, *arguments: str, user: str = "alice", target: str = "web-1") -> int:
    file = tmp_path / "bastion.toml"
    file.write_text(CONFIG)
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(file), "policy", "explain", user, target, *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


async def sign_in(tmp_path: Path, moment: float, *groups: str) -> None:
    state = await State.open(tmp_path / "data" / "state.db", now=lambda: moment)
    try:
        grant = new_grant(
            user="alice",
            issuer="https://login.example.com",
            issuer_alias="corp",
            subject="s",
            groups=groups,
            method="device",
            client_address="192.0.2.9",
            now=moment,
            lifetime=timedelta(hours=1),
        )
        await state.grants.insert(grant)
    finally:
        await state.close()


def test_the_answer_names_the_rule_and_what_the_person_sees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(tmp_path, "--groups", "developers", "--login", "root", "--action", "shell") == 0
    printed = capsys.readouterr().out
    assert "Answer    no: rule 'no-root' denies it\n" in printed
    assert "They see  no rule lets you open a shell on web-1 as root; you may as deploy\n" in printed
    assert "staging     allow   no       labels: for env=staging, not env=prod; " not in printed
    assert "staging     allow   no       labels: for env=staging, not env=prod\n" in printed


def test_json_carries_the_whole_account(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(tmp_path, "--groups", "developers, x", "--json") == 0
    account: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (account["groups"], account["allowed"], account["rule"]) == (
        ["developers", "x"],
        True,
        "developers",
    )
    assert account["logins"] == {"shell": ["deploy"], "exec": ["deploy"], "sftp": []}
    assert [(rule["name"], rule["matches"]) for rule in account["rules"]] == [
        ("developers", True),
        ("staging", False),
        ("analysts", False),
        ("no-root", True),
    ]
    assert account["rules"][1]["mismatches"] == [
        {"aspect": "labels", "wanted": "env=staging", "found": "env=prod"}
    ]


def test_groups_are_those_of_the_last_sign_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest grant counts, also when it has expired long ago."""
    asyncio.run(sign_in(tmp_path, 2000.0, "developers", "oncall"))
    asyncio.run(sign_in(tmp_path, 1000.0, "before"))
    assert explain(tmp_path) == 0
    assert "groups: developers, oncall (from the sign-in of 1970-01-01 00:33 UTC)" in capsys.readouterr().out


def test_unknown_groups_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(tmp_path) == 74
    assert capsys.readouterr().err == (
        "bastion: the groups of alice are not known: nobody has signed in yet\n  Name their groups: --groups a,b\n"
    )
    asyncio.run(sign_in(tmp_path, 1000.0, "developers"))
    assert explain(tmp_path, user="bob") == 74
    assert "bob has never signed in" in capsys.readouterr().err


def test_no_groups_can_be_named_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(tmp_path, "--groups", "") == 0
    printed = capsys.readouterr().out
    assert "groups: none (as named)" in printed
    assert "They see  there is no target web-1 that you may reach" in printed


def test_an_unknown_target_is_answered_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(tmp_path, "--groups", "x", target="web1") == 78
    assert capsys.readouterr().err == "bastion: the configuration has no target web1\n  Did you mean web-1?\n"


def test_what_is_typed_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explain(tmp_path, "--groups", "\x1b[2J", "--login", "\x1b[2J", user="\x1b[2J")
    assert "\x1b" not in capsys.readouterr().out


def test_of_a_database_it_tells_the_role_and_what_sessions_are_held_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--groups", "analysts", "--action", "connect", "--login", "reader")
    assert explain(tmp_path, *asked, "--database", "orders", target="orders-db") == 0
    printed = capsys.readouterr().out
    assert "Answer    yes: rule 'analysts' allows it\n" in printed
    assert "Account   orders_reader on the server\n" in printed
    assert "Held to   read_only = true, idle_timeout = 10m, statement_timeout = 5m\n" in printed
    assert explain(tmp_path, *asked, "--database", "archive", "--json", target="orders-db") == 0
    account: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (account["allowed"], account["account"], account["held_to"]) == (
        False, "orders_reader on the server", {},
    )  # fmt: skip
    assert account["reason"] == (
        "no rule lets you connect a client of your own in the database archive on orders-db as reader"
    )
    analysts = next(rule for rule in account["rules"] if rule["name"] == "analysts")
    assert analysts["mismatches"] == [
        {"aspect": "database", "wanted": "orders", "found": "the database archive"}
    ]


def test_a_login_that_the_bastion_has_no_account_for_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(tmp_path, "--groups", "analysts", "--login", "owner", target="orders-db") == 0
    assert "Account   there is none for owner\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (("--database", "orders"), "orders-db"),
        (("--database", "payroll", "--action", "connect"), "orders-db"),
        (("--database", "orders", "--action", "shell"), "web-1"),
    ],
)
def test_a_database_goes_with_a_server_that_has_it_and_an_action(
    tmp_path: Path, arguments: tuple[str, ...], target: str
) -> None:
    assert explain(tmp_path, "--groups", "analysts", *arguments, target=target) == 2
