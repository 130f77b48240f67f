"""docs/policy.md is run: every example is loaded, every row of its tables is asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from bastion.config.load import examine
from bastion.config.model import Config
from cli.main import main
from policy.decide import Subject, TargetFacts, decide, may_audit
from policy.rules import ACTIONS, Action

DOCUMENT = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
TARGETS, *EXAMPLES = re.findall(r"```toml\n(.*?)```\n((?:\n*\|[^\n]*)*)", DOCUMENT, re.DOTALL)


class Row(NamedTuple):
    person: str
    groups: tuple[str, ...]
    target: str
    login: str
    action: Action
    answer: str


def rows(table: str) -> list[Row]:
    found = []
    for line in table.strip().splitlines()[2:]:
        person, groups, target, login, action, answer = (cell.strip() for cell in line.strip("|").split("|"))
        (known,) = (known for known in ACTIONS if known == action)
        names = tuple(name.strip() for name in groups.split(",") if name.strip())
        found.append(Row(person, names, target, login, known, answer))
    return found


def loaded(tmp_path: Path, example: str) -> Config:
    file = tmp_path / "bastion.toml"
    file.write_text(TARGETS[0] + example)
    examination = examine(file)
    assert examination.config is not None, examination.errors
    rule_warnings = [warning for warning in examination.warnings if warning.path.startswith("policy.rules[")]
    assert not rule_warnings
    return examination.config


@pytest.mark.parametrize(("example", "table"), EXAMPLES)
def test_an_example_decides_as_its_table_says(tmp_path: Path, example: str, table: str) -> None:
    config = loaded(tmp_path, example)
    asked = rows(table)
    assert asked or "policy.auditors" in example
    for row in asked:
        target = config.target(row.target)
        assert target is not None
        facts = TargetFacts(name=target.name, kind=target.kind, labels=target.labels)
        subject = Subject(user=row.person, groups=row.groups)
        decision = decide(config.policy.rules, subject, facts, row.login, row.action)
        assert decision.allowed is (row.answer == "yes"), row


def test_the_document_has_the_examples_it_had() -> None:
    """Guards the test above against a regular expression that finds nothing."""
    assert len(EXAMPLES) == 5
    assert sum(len(rows(table)) for _, table in EXAMPLES) == 17


def test_auditors_are_as_the_document_says(tmp_path: Path) -> None:
    auditors = loaded(tmp_path, EXAMPLES[-1][0]).policy.auditors
    lead, auditor = Subject(user="l", groups=("web-leads",)), Subject(user="a", groups=("audit",))
    assert may_audit(auditors, auditor, owner="bob", target="db-1").allowed
    assert may_audit(auditors, lead, owner="bob", target="web-1").allowed
    assert not may_audit(auditors, lead, owner="bob", target="db-1").allowed


def test_the_explanation_shown_is_the_one_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded(tmp_path, EXAMPLES[0][0])
    (shown,) = re.findall(r"```text\n\$ bastion (.*?)\n(.*?)```", DOCUMENT, re.DOTALL)
    command, output = shown
    with pytest.raises(SystemExit):
        main(["--config", str(tmp_path / "bastion.toml"), *command.split(), "--groups", "developers"])
    printed = capsys.readouterr().out.replace("as named", "from the sign-in of 2026-11-24 10:02 UTC")
    assert printed == output
