"""From claims to a user name and groups; what does not fit is refused, never bent into shape."""

from __future__ import annotations

from typing import Any

import pytest

from bastion.config import model
from bastion.errors import SignInError
from bastion.identity.people import Identity, identity_from_token
from bastion.identity.verifier import VerifiedToken


def read(*, user_claim: str = "preferred_username", groups_claim: str = "groups", **claims: Any) -> Identity:
    settings = model.Issuer(
        alias="corp",
        issuer="https://idp.example",
        client_id="bastion",
        user_claim=user_claim,
        groups_claim=groups_claim,
    )
    token = VerifiedToken(
        claims=claims, issuer="https://idp.example", subject="s-1", issued_at=1, expires_at=2, digest="d"
    )
    return identity_from_token(token, settings)


def refusal(**claims: Any) -> str:
    with pytest.raises(SignInError) as caught:
        read(**claims)
    assert caught.value.hint
    return caught.value.message


def test_a_person_is_known_by_issuer_subject_name_and_groups() -> None:
    identity = read(preferred_username="Alice.B+x@corp_1-2", groups=["sre", "dba", "sre"])
    assert identity == Identity(
        user="alice.b+x@corp_1-2",
        issuer="https://idp.example",
        issuer_alias="corp",
        subject="s-1",
        groups=("sre", "dba"),
        issued_at=1,
        expires_at=2,
        token_digest="d",
    )


@pytest.mark.parametrize(
    "name",
    [
        "CORP\\alice", "alice smith", "álice", "ali\u212ae", "alice\n", "\x1b[2Jalice", "-alice", ".alice", "@alice",
        "..", "a/b", "alice;id", "a" * 64, "alice\x00",
    ],
)  # fmt: skip
def test_a_name_that_does_not_fit_is_refused_and_shown_escaped(name: str) -> None:
    message = refusal(preferred_username=name)
    assert "cannot be a user name here" in message
    assert message.isascii() and message.isprintable()


@pytest.mark.parametrize("name", [None, "", 5, ["alice"], {"a": 1}, True])
def test_a_claim_that_is_no_name_is_refused(name: object) -> None:
    assert "did not say who you are (claim preferred_username)" in refusal(preferred_username=name)


def test_a_missing_claim_is_refused() -> None:
    assert "did not say who you are (claim upn)" in refusal(user_claim="upn", preferred_username="alice")


@pytest.mark.parametrize("name", ["login", "LOGIN", "root", "sessions", "help", "ci-deploy"])
def test_a_reserved_name_is_refused(name: str) -> None:
    assert "is reserved" in refusal(preferred_username=name)


def test_an_e_mail_counts_only_when_it_is_verified() -> None:
    assert (
        read(user_claim="email", email="Alice@Corp.example", email_verified=True).user == "alice@corp.example"
    )
    for unverified in ({}, {"email_verified": False}, {"email_verified": "true"}, {"email_verified": 1}):
        assert "has not verified" in refusal(user_claim="email", email="alice@corp.example", **unverified)


def test_nobody_needs_to_be_in_a_group() -> None:
    assert read(preferred_username="alice").groups == ()
    assert read(preferred_username="alice", groups=[]).groups == ()


def test_groups_are_read_from_the_configured_claim() -> None:
    assert read(groups_claim="roles", preferred_username="alice", roles=["x"], groups=["y"]).groups == ("x",)


@pytest.mark.parametrize("groups", ["sre", {"sre": 1}, ["sre", 5], [["sre"]], None, 5])
def test_groups_that_are_no_list_of_names_are_refused(groups: object) -> None:
    """A deny rule must not be missed because the groups came in another shape."""
    assert "as a list of names" in refusal(preferred_username="alice", groups=groups)


@pytest.mark.parametrize("group", ["", "a\nb", "\x1b[31m", "g" * 257])
def test_a_group_name_that_cannot_be_printed_is_refused(group: str) -> None:
    assert "cannot be used" in refusal(preferred_username="alice", groups=["sre", group])


def test_too_many_groups_are_refused() -> None:
    assert "2001 groups" in refusal(
        preferred_username="alice", groups=[str(number) for number in range(2001)]
    )


@pytest.mark.parametrize(
    "overage",
    [
        {
            "_claim_names": {"groups": "src1"},
            "_claim_sources": {"src1": {"endpoint": "https://graph.example"}},
        },
        {"_claim_names": {"groups": "src1"}, "groups": []},
        {"hasgroups": True},
    ],
    ids=["asked elsewhere", "asked elsewhere, with a list", "hasgroups"],
)
def test_groups_that_the_provider_leaves_out_for_their_number_are_refused(overage: dict[str, Any]) -> None:
    assert "too many groups" in refusal(preferred_username="alice", **overage)


def test_another_claim_that_is_kept_elsewhere_does_not_matter() -> None:
    assert read(preferred_username="alice", groups=["sre"], _claim_names={"photo": "src1"}).groups == ("sre",)
