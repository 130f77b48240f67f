"""Which databases a person is offered, and choosing one in the picker."""

from __future__ import annotations

import pytest

from bastion.config.targets import PostgresTarget
from bastion.connectors.postgres.databases import databases_of
from bastion.connectors.postgres.psql_program import psql_problem
from bastion.identity.person import Person
from policy.rules import Rule
from tests.postgres.conftest import Orders
from tests.rig.process import wait_for_end
from tests.server.recorded import rows

BOB = Person(
    user="bob", issuer="https://id.example.com", subject="1", groups=("dev",), method="device", serial=1, expires_at=9e9
)  # fmt: skip


def offered(databases: list[str], *terms: dict[str, object], path: str = "") -> list[str] | None:
    target = PostgresTarget.model_validate(
        {
            "kind": "postgres",
            "name": "orders-db",
            "address": "db",
            "databases": databases,
            "accounts": [{"login": "reader"}],
        }
    )
    rules = [
        Rule.model_validate(
            {"name": f"rule {n}", "groups": ["dev"], "targets": ["*"], "logins": ["reader"], "postgres": each}
        )
        for n, each in enumerate(terms)
    ]
    level = databases_of(target, BOB, "reader", path, rules)
    return None if level is None else [place.path for place in level.places]


def test_databases_that_rules_are_for_are_offered_the_usual_one_first() -> None:
    assert offered(["orders", "archive"], {}) == ["orders", "archive"]
    assert offered(["orders", "archive", "pay"], {"databases": ["archive", "p*"]}) == ["archive", "pay"]
    assert offered(["*", "orders"], {"databases": ["archive", "tmp_*"]}, {"databases": ["orders"]}) == [
        "orders",
        "archive",
    ]


def test_nothing_is_offered_once_one_is_named_and_where_there_is_none() -> None:
    assert offered(["orders", "archive"], {}, path="archive") is None
    assert offered(["orders"], {"databases": ["other"]}) is None


def test_person_goes_from_the_picker_to_a_database_and_back(orders: Orders) -> None:
    if problem := psql_problem():
        pytest.skip(problem)
    child = orders.alice.spawn("-t", "x@localhost")
    try:
        child.expect_exact("Esc leave")
        child.send("orders-db\r")
        child.expect_exact("choose a database")
        child.expect_exact("Esc back")
        child.send("arch")
        child.expect_exact("reader@orders-db/archive")
        child.send("\r")
        child.expect_exact("archive=> ")
        child.sendline("SELECT current_user || ' is here';")
        child.expect_exact("orders_reader is here")
        assert rows(orders.world)[0]["target"] == "orders-db"
        child.sendline("\\q")
        child.expect_exact("orders-db: the session has ended")
        child.send("\x03")
        wait_for_end(child)
    finally:
        child.close(force=True)
