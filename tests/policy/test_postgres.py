"""What rules say of databases, and of the statements in them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from policy.decide import Subject, TargetFacts, decide, may_reach
from policy.explain import explain
from policy.kubernetes import Pod
from policy.postgres import Database, PostgresTerms, StatementLimits
from policy.rules import Rule

ALICE = Subject(user="alice", groups=("dev",))
ORDERS = TargetFacts(name="orders-db", kind="postgres")
PROD = TargetFacts(name="prod-k8s", kind="kubernetes")


def rule(**settings: object) -> Rule:
    base = {"name": "r", "groups": ["dev"], "targets": ["*"], "logins": ["reader"]}
    return Rule.model_validate(base | settings)


def allowed(rules: list[Rule], database: str | None) -> bool:
    aim = None if database is None else Database(database)
    return decide(rules, ALICE, ORDERS, "reader", "connect", aim).allowed


def test_an_allow_rule_is_for_the_databases_it_names() -> None:
    rules = [rule(postgres={"databases": ["orders", "archive_*"]})]
    assert [allowed(rules, name) for name in ("orders", "archive_2025", "payroll", None)] == [
        True, True, False, True,
    ]  # fmt: skip
    refused = decide(rules, ALICE, ORDERS, "reader", "connect", Database("payroll"))
    assert refused.reason == (
        "no rule lets you connect a client of your own in the database payroll on orders-db as reader"
    )


def test_a_deny_rule_with_databases_denies_these_and_nothing_else() -> None:
    rules = [rule(), rule(name="d", effect="deny", logins=["*"], postgres={"databases": ["pay*"]})]
    assert [allowed(rules, name) for name in ("orders", "payroll", None)] == [True, False, True]
    assert may_reach(rules, ALICE, ORDERS)
    assert decide(rules, ALICE, PROD, "reader", "shell", Pod("shop")).allowed, "it is for databases alone"


def test_a_deny_rule_about_clusters_leaves_databases_alone() -> None:
    rules = [rule(), rule(name="d", effect="deny", kubernetes={})]
    assert allowed(rules, "orders")


def test_an_explanation_names_the_databases() -> None:
    rules = [rule(postgres={"databases": ["orders"]})]
    account = explain(rules, ALICE, ORDERS, "reader", "connect", Database("payroll")).rules[0]
    assert [(m.aspect, m.wanted, m.found) for m in account.mismatches] == [
        ("database", "orders", "the database payroll")
    ]


def test_a_limit_that_one_rule_sets_is_not_lifted_by_another() -> None:
    several = [
        PostgresTerms(read_only=True, statement_timeout=timedelta(minutes=5)),
        PostgresTerms(statement_timeout=timedelta(minutes=1)),
        None,
    ]
    assert StatementLimits.narrowest(several) == StatementLimits(
        read_only=True, statement_timeout=timedelta(minutes=1)
    )
    assert StatementLimits.narrowest([None]) == StatementLimits()


def test_a_deny_rule_has_no_limits() -> None:
    with pytest.raises(ValidationError, match="a deny rule allows nothing that read_only could limit"):
        rule(effect="deny", postgres={"read_only": True})
