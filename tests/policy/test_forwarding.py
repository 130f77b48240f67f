"""Which ends of connections rules are for, and what they decide."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from policy.decide import Subject, TargetFacts, decide, may_reach
from policy.explain import explain
from policy.forwarding import ANYWHERE, End, fits, listening_end
from policy.rules import Rule

ALICE = Subject(user="alice", groups=("sre",))
WEB = TargetFacts(name="web-1")
GRANT = Rule(
    name="tunnels",
    groups=("sre",),
    targets=("web-*",),
    logins=("deploy",),
    forward=("localhost:80", "*.internal:5432", "10.0.0.0/8:*", "[fd00::/8]:8000-8099", "/run/app*.sock"),
)


def end(text: str) -> End:
    if text.startswith("/"):
        return End(path=text)
    host, _, port = text.rpartition(":")
    return End(host=host.strip("[]"), port=int(port))


@pytest.mark.parametrize(
    "text",
    [
        "localhost:80", "LOCALHOST:80", "localhost.:80", "db.internal:5432", "10.1.2.3:22", "10.1:22", "0xa000001:1",
        "[::ffff:10.0.0.1]:9", "[fd12::1]:8050", "/run/app.sock", "/run/app-2.sock", "/run//app.sock",
    ],
)  # fmt: skip
def test_a_pattern_fits_what_it_names_however_it_is_written(text: str) -> None:
    assert fits(GRANT.forward, end(text))


@pytest.mark.parametrize(
    "text",
    [
        "localhost:81", "127.0.0.1:80", "internal:5432", "db.internal.example.com:5432", "11.0.0.1:22",
        "10.0.0.1.example.com:22", "[fd12::1]:8100", "[fe80::1]:8050", "/run/other.sock", "/run/app/../x.sock",
    ],
)  # fmt: skip
def test_a_pattern_fits_nothing_else(text: str) -> None:
    assert not fits(GRANT.forward, end(text))


def test_names_are_not_resolved_and_addresses_are_not_named() -> None:
    """Nobody can know here what a name leads to on the target."""
    assert not fits(["127.0.0.0/8:*"], End(host="localhost", port=80))
    assert fits(["127.0.0.0/8:*"], End(host="0.0.0.0", port=80))
    assert fits(["*:*"], End(host="127.0.0.1", port=80))
    assert not fits(["*:*"], End(path="/run/x"))


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("localhost", "has no port"), (":80", "has no port"), ("a:b", "is no port"), ("a:90-80", "is no port"),
        ("a:70000", "is no port"), ("fd00::1:80", "in brackets"), ("10.0.0.0/33:1", "is no network"),
        ("a b:1", "no host has a name"),
    ],
)  # fmt: skip
def test_a_pattern_that_fits_nothing_is_refused_with_what_is_wrong(pattern: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Rule(name="x", users=("a",), targets=("*",), logins=("a",), forward=(pattern,))


@pytest.mark.parametrize(
    "bad", [End(host="", port=1), End(host="a b", port=1), End(host="a", port=70000), End(path="run/x")]
)
def test_an_end_that_cannot_be_is_told(bad: End) -> None:
    assert bad.problem


def test_a_rule_without_forwarding_grants_none() -> None:
    plain = Rule(name="all", users=("*",), targets=("*",), logins=("*",))
    for action in ("forward", "listen", "agent", "x11"):
        decision = decide([plain], ALICE, WEB, "deploy", action, End(host="localhost", port=80))
        assert not decision.allowed


def test_forwarding_is_granted_to_the_ends_a_rule_names_beside_what_it_grants_anyway() -> None:
    assert GRANT.actions == ("shell", "exec", "connect", "forward")
    yes = decide([GRANT], ALICE, WEB, "deploy", "forward", end("localhost:80"))
    assert (yes.allowed, yes.reason) == (
        True,
        "you may forward connections to localhost:80 on web-1 as deploy",
    )
    no = decide([GRANT], ALICE, WEB, "deploy", "forward", end("localhost:81"))
    assert no.reason == "no rule lets you forward connections to localhost:81 on web-1 as deploy"
    wildcard = GRANT.model_copy(update={"logins": ("*",)})
    assert not decide([wildcard], ALICE, WEB, "-", "forward", end("localhost:80")).allowed
    other = decide([GRANT], ALICE, WEB, "root", "forward", end("localhost:80"))
    assert other.reason.endswith("as root; you may as deploy")
    assert not decide([GRANT], ALICE, WEB, "deploy", "listen", end("localhost:80")).allowed


def test_a_deny_of_ends_outweighs_and_leaves_everything_else_alone() -> None:
    metadata = Rule(name="no metadata", effect="deny", groups=("*",), forward=("10.9.0.0/16:*",))
    assert metadata.actions == ("forward",)
    rules = [GRANT, metadata]
    assert not decide(rules, ALICE, WEB, "deploy", "forward", end("10.9.0.1:80")).allowed
    assert decide(rules, ALICE, WEB, "deploy", "forward", end("10.8.0.1:80")).allowed
    assert decide(rules, ALICE, WEB, "deploy", "shell").allowed


def test_a_deny_without_ends_is_for_every_end() -> None:
    nowhere = Rule(name="no tunnels", effect="deny", groups=("*",), actions=("forward",))
    assert not decide([GRANT, nowhere], ALICE, WEB, "deploy", "forward", end("localhost:80")).allowed
    everything = Rule(name="out", effect="deny", groups=("*",))
    assert not decide([GRANT, everything], ALICE, WEB, "deploy", "forward", end("localhost:80")).allowed


def test_whoever_may_only_forward_sees_the_target() -> None:
    only = Rule(
        name="x", groups=("sre",), targets=("*",), logins=("deploy",), actions=(), forward=("localhost:80",)
    )
    assert only.actions == ("forward",)
    assert may_reach([only], ALICE, WEB)


def test_an_allow_of_forwarding_must_say_where() -> None:
    with pytest.raises(ValidationError, match="say where: forward"):
        Rule(name="x", users=("a",), targets=("*",), logins=("a",), actions=("forward",))


def test_all_names_of_every_address_are_one_to_listen_at() -> None:
    assert {listening_end(host, 9000) for host in ("", "*", "0.0.0.0", "::")} == {
        End(host=ANYWHERE, port=9000)
    }
    assert not fits(["localhost:*"], listening_end("", 9000))
    assert fits(["*:9000"], listening_end("", 9000))


def test_explain_says_which_ends_a_rule_is_for() -> None:
    account = explain([GRANT], ALICE, WEB, "deploy", "forward", end("localhost:81"))
    assert [(gap.aspect, gap.found) for gap in account.rules[0].mismatches] == [("end", "localhost:81")]
    assert account.logins["forward"] == ("deploy",)
    assert "listen" not in account.logins
