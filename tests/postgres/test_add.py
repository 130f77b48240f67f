"""`bastion target add-postgres`: what it prints lets the bastion into a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bastion.config.targets import PostgresTarget
from bastion.ops.database_setup import hba_line, setup_statements
from tests.postgres.conftest import HBA, Orders
from tests.rig.openssh import Finished

ROLE = 'shop "all" reader'


@pytest.fixture
def shop(orders: Orders) -> Iterator[Orders]:
    """The server with a database more, and neither the role nor, afterwards, the target."""
    orders.server.sql('CREATE DATABASE "shop-1"')
    yield orders
    for made in (orders.world.folder / "targets.d" / "shop-db.toml", password_file(orders)):
        made.unlink(missing_ok=True)
    orders.server.allow(*HBA)
    orders.server.sql('DROP DATABASE "shop-1"', f"DROP ROLE IF EXISTS {quoted(ROLE)}")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def password_file(orders: Orders) -> Path:
    return orders.world.folder / "data" / "keys" / "postgres-shop-db-reader.password"


def add(orders: Orders, *options: str) -> Finished:
    ca = str(orders.sockets.parent / "ca.crt")
    return orders.world.bastion.run(
        "target", "add-postgres", "shop-db", "127.0.0.1", "--port", str(orders.server.port),
        "--database", "shop-1", "--login", "reader", "--role", ROLE, "--tls-ca", ca, *options,
    )  # fmt: skip


def test_what_it_prints_lets_the_bastion_in_with_a_password_that_nobody_saw(shop: Orders) -> None:
    done = add(shop)
    assert done.status == 0, done.errors
    assert "No rule lets anybody in there yet: add one for shop-db" in done.errors
    password = password_file(shop).read_text().strip()
    assert len(password) >= 40
    assert password not in done.text + done.errors
    assert password_file(shop).stat().st_mode & 0o777 == 0o600
    (hba,) = (line for line in done.text.splitlines() if line.startswith("-- In pg_hba.conf: "))
    shop.server.sql(*(line for line in done.text.splitlines() if not line.startswith("--")))
    shop.server.allow(
        hba.removeprefix("-- In pg_hba.conf: ").replace("ADDRESS-OF-THE-BASTION", "127.0.0.1/32")
    )
    checked = shop.world.bastion.run("target", "check", "shop-db")
    assert checked.status == 0, checked.text
    assert f"the bastion is {ROLE} there, by SCRAM-SHA-256-PLUS" in checked.text
    assert "add-postgres" not in checked.text


def test_a_target_that_is_not_written_leaves_no_password_behind(shop: Orders) -> None:
    folder = shop.world.folder / "targets.d"
    (folder / "shop-db.toml").write_text("")  # of somebody who began one
    done = add(shop)
    assert (done.status, done.errors.splitlines()[0][:40]) == (78, "bastion: the target shop-db is there alr")
    assert not password_file(shop).exists()


def test_a_password_that_is_there_is_not_lost(shop: Orders) -> None:
    password_file(shop).touch(mode=0o600)
    done = add(shop)
    assert done.status == 78
    assert "there is a password already" in done.errors
    assert "--password-file" in done.errors
    assert not (shop.world.folder / "targets.d" / "shop-db.toml").exists()
    assert add(shop, "--password-file", str(password_file(shop))).status == 0


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--tls-name", "a b"), "shop-db cannot be added: tls_name"),
        (("--label", "env"), "--label 'env' is not KEY=VALUE"),
        (("--key-file", __file__), "needs both or neither"),
    ],
)
def test_what_cannot_be_is_said(shop: Orders, options: tuple[str, ...], problem: str) -> None:
    done = add(shop, *options)
    assert done.status in (2, 78)
    assert problem in done.errors
    assert not password_file(shop).exists()


def test_names_that_need_quotes_get_them_and_nothing_gets_out_of_a_comment() -> None:
    target = PostgresTarget.model_validate({
        "kind": "postgres", "name": "db", "address": "db.internal", "databases": ["all", "a\nb", "*"],
        "accounts": [{"login": "x", "role": 'r"\nDROP', "certificate_file": "/c", "key_file": "/k"}],
    })  # fmt: skip
    (account,) = target.accounts
    assert hba_line(target, account) == 'hostssl all "r""\nDROP" ADDRESS-OF-THE-BASTION cert'
    assert setup_statements(target, account).splitlines() == [
        r'CREATE ROLE "r""\nDROP" LOGIN;',
        r'GRANT CONNECT ON DATABASE "all" TO "r""\nDROP";',
        r'GRANT CONNECT ON DATABASE "a\nb" TO "r""\nDROP";',
        r'-- Then what it may do there, as GRANT pg_read_all_data TO "r""\nDROP";',
        r'-- In pg_hba.conf: hostssl all "r""\nDROP" ADDRESS-OF-THE-BASTION cert',
    ]
