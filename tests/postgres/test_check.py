"""`bastion target check` against a real server, well and badly configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bastion.config.targets import PostgresTarget
from bastion.ops.databases import examine_database
from tests.postgres.conftest import HBA, READER_PASSWORD, Orders
from tests.rig.process import free_port


def target(orders: Orders, **settings: object) -> PostgresTarget:
    folder = orders.sockets.parent
    account = {"login": "reader", "role": "orders_reader", "password_file": folder / "reader.password"}
    base: dict[str, object] = {
        "kind": "postgres", "name": "db", "address": "127.0.0.1", "port": orders.server.port,
        "databases": ["orders"], "accounts": [account], "tls_ca": folder / "ca.crt",
    }  # fmt: skip
    return PostgresTarget.model_validate(base | settings)


def test_command_says_how_it_signs_in_and_what_that_account_is(orders: Orders) -> None:
    done = orders.world.bastion.run("target", "check", "orders-db")
    assert done.status == 0
    assert "orders-db: ok (as reader)\n  PostgreSQL " in done.text
    assert "over TLSv1.3\n  the bastion is orders_reader there, by SCRAM-SHA-256-PLUS\n" in done.text
    done = orders.world.bastion.run("target", "check", "orders-db", "--login", "certified")
    assert "the bastion is orders_certified there, by a client certificate\n" in done.text
    assert "password" not in done.text


def test_command_says_what_is_wrong_with_an_account(orders: Orders) -> None:
    done = orders.world.bastion.run("target", "check", "orders-db", "--login", "broken")
    assert done.status == 1
    assert 'password authentication failed for user "nobody_like_this" (28P01)' in done.text
    assert "reader.password the password of nobody_like_this?" in done.text
    assert READER_PASSWORD not in done.text + done.errors
    done = orders.world.bastion.run("target", "check", "orders-db", "--login", "boss")
    assert (
        "the bastion has no account boss on orders-db\n  There is: reader, writer, certified, broken"
        in done.text
    )


async def test_what_an_account_may_do_beyond_its_database_is_told(orders: Orders) -> None:
    orders.server.sql("GRANT pg_read_server_files TO orders_reader", "ALTER ROLE orders_reader CREATEROLE")
    try:
        found = await examine_database(target(orders), "reader")
    finally:
        orders.server.sql(
            "REVOKE pg_read_server_files FROM orders_reader", "ALTER ROLE orders_reader NOCREATEROLE"
        )
    assert (
        "WARNING: it is a member of pg_read_server_files: people reach past the database, to the machine"
        in found.notes
    )
    assert "WARNING: it may make roles" in found.notes
    assert not found.problem


@pytest.mark.parametrize(
    ("settings", "problem", "hint"),
    [
        ({"databases": ["none_such"]}, 'database "none_such" does not exist (3D000)', "databases names what"),
        (
            {"databases": ["orders", "none_such"]},
            "orders_reader cannot connect to none_such",
            "GRANT CONNECT",
        ),
        ({"tls": "off"}, "no pg_hba.conf entry", "pg_hba.conf needs: host orders orders_reader"),
        ({"tls_ca": None}, "cannot prove that it is the right server", ""),
        ({"tls_name": "another"}, "cannot prove that it is the right server", ""),
    ],
)
async def test_what_is_wrong_is_told_with_what_to_do(
    orders: Orders, settings: dict[str, object], problem: str, hint: str
) -> None:
    found = await examine_database(target(orders, **settings), "reader")
    assert problem in found.problem
    assert hint in found.hint


async def test_server_that_is_not_there_is_told(orders: Orders) -> None:
    found = await examine_database(target(orders, port=free_port()), "reader")
    assert "db cannot be reached" in found.problem


async def test_key_that_others_can_read_is_not_used(orders: Orders, tmp_path: Path) -> None:
    open_to_all = tmp_path / "password"
    open_to_all.write_text(READER_PASSWORD)
    open_to_all.chmod(0o644)
    accounts = [{"login": "reader", "role": "orders_reader", "password_file": open_to_all}]
    found = await examine_database(target(orders, accounts=accounts), "reader")
    assert "cannot use its password" in found.problem


@pytest.mark.parametrize(
    ("method", "settings", "outcome"),
    [
        ("md5", {"allow_md5": True}, "by a password hashed with MD5"),
        ("md5", {}, "asks for a kind of proof that is not given to it"),
        ("password", {}, "by a password in the clear, inside TLS"),
        ("password", {"tls": "verify-ca"}, "asks for a kind of proof that is not given to it"),
        ("scram-sha-256", {}, "by SCRAM-SHA-256-PLUS"),
    ],
)
async def test_kinds_of_proof_are_given_where_they_may_be(
    orders: Orders, method: str, settings: dict[str, object], outcome: str
) -> None:
    server = orders.server
    server.sql(
        "SET password_encryption = 'md5'; DROP ROLE IF EXISTS old; CREATE ROLE old LOGIN PASSWORD 'old'"
        if method == "md5"
        else "DROP ROLE IF EXISTS old; CREATE ROLE old LOGIN PASSWORD 'old'"
    )
    password = orders.sockets.parent / "old.password"
    password.touch(mode=0o600)
    password.write_text("old")
    accounts = [{"login": "old", "password_file": password}]
    server.allow(f"hostssl all old 127.0.0.1/32 {method}", *HBA)
    try:
        found = await examine_database(target(orders, accounts=accounts, **settings), "old")
    finally:
        server.allow(*HBA)
    assert outcome in found.problem + " ".join(found.notes)
