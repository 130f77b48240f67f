"""Headers: what passes, what is left out, and what a client may not say."""

from __future__ import annotations

import pytest

from bastion.kubectl.headers import bearer_token, passed_back, passed_on, refused_header
from bastion.kubectl.http import Head


def head(*headers: tuple[str, str]) -> Head:
    return Head(method="GET", target="/", headers=[(name.lower(), value) for name, value in headers])


@pytest.mark.parametrize(
    "name",
    [
        "Impersonate-User", "Impersonate-Group", "Impersonate-Extra-Scopes", "Impersonate-Uid", "X-Remote-User",
        "X-Remote-Extra-x", "X-Forwarded-For", "Forwarded", "Impersonate_User",
    ],
)  # fmt: skip
def test_a_client_does_not_say_who_it_is(name: str) -> None:
    assert refused_header(head(("Accept", "*/*"), (name, "system:masters"))) is not None


def test_ordinary_headers_pass_and_credentials_and_unknown_ones_do_not() -> None:
    sent = head(
        ("Accept", "application/json"), ("Authorization", "Bearer x"), ("User-Agent", "kubectl/v1.32"),
        ("Cookie", "a=b"), ("Kubectl-Command", "kubectl get"), ("Connection", "keep-alive"), ("X-New", "1"),
        ("Host", "prod-k8s"),
    )  # fmt: skip
    assert refused_header(sent) is None
    assert [name for name, _ in passed_on(sent)] == ["accept", "user-agent", "kubectl-command"]


def test_what_a_cluster_says_to_the_bastion_alone_stays_there() -> None:
    answered = [
        ("Content-Type", "application/json"), ("Audit-Id", "1"), ("Connection", "close, X-Hop"), ("X-Hop", "1"),
        ("Transfer-Encoding", "chunked"), ("WWW-Authenticate", "Basic"), ("Set-Cookie", "a=b"),
        ("Warning", '299 - "old"'),
    ]  # fmt: skip
    assert [name for name, _ in passed_back(answered)] == ["Content-Type", "Audit-Id", "Warning"]


@pytest.mark.parametrize(
    ("value", "token"),
    [("Bearer abc", "abc"), ("bearer abc", "abc"), ("Basic abc", None), ("Bearer", ""), ("", None)],
)
def test_a_token_is_a_bearer_token(value: str, token: str | None) -> None:
    assert bearer_token(head(("Authorization", value))) == token
