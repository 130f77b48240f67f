"""The conversation that gives a certificate for an ID token."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator

import pytest

from bastion.errors import SignInError, TokenRejected
from bastion.identity.exchange import (
    LARGEST_MESSAGE,
    Exchange,
    Granted,
    Hello,
    Refused,
    key_bound_nonce,
    read_answer,
    read_hello,
    read_token,
    write_answer,
    write_token,
)
from bastion.identity.oidc import Provider
from tests.identity.idp import NOW, Idp

KEY = b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(range(32))
OTHER_KEY = KEY[:-1] + b"\xff"


class UsedTokens:
    """The one-time list, as the state keeps it."""

    def __init__(self) -> None:
        self.digests: dict[str, float] = {}

    async def use(self, digest: str, expires_at: float) -> bool:
        if digest in self.digests:
            return False
        self.digests[digest] = expires_at
        return True


@pytest.fixture
async def idp() -> AsyncIterator[Idp]:
    async with Idp() as idp:
        yield idp


@pytest.fixture
def used() -> UsedTokens:
    return UsedTokens()


def exchange(idp: Idp, used: UsedTokens, challenge: str | None = None) -> Exchange:
    return Exchange(Provider(idp.settings()), use_token=used.use, now=lambda: NOW, challenge=challenge)


def token_for(idp: Idp, hello: Hello, key: bytes = KEY) -> str:
    return idp.token(nonce=key_bound_nonce(hello.challenge, key))


async def test_a_token_for_the_challenge_and_the_key_is_accepted_and_remembered(
    idp: Idp, used: UsedTokens
) -> None:
    server = exchange(idp, used)
    hello = read_hello(server.hello())
    assert (hello.issuer, hello.client_id, hello.browser) == (idp.url, "bastion", True)
    identity = await server.accept(read_token(write_token(token_for(idp, hello))), KEY)
    assert (identity.user, identity.issuer_alias, identity.groups) == ("alice", "corp", ("sre",))
    assert used.digests == {identity.token_digest: NOW + 330}


def test_the_nonce_is_a_digest_of_tag_challenge_and_key() -> None:
    digest = hashlib.sha256(b"bastion-login-v1\0" + b"challenge" + b"\0" + KEY).digest()
    assert key_bound_nonce("challenge", KEY) == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def test_a_stolen_token_is_worth_nothing_with_another_key(idp: Idp, used: UsedTokens) -> None:
    server = exchange(idp, used)
    token = token_for(idp, read_hello(server.hello()))
    with pytest.raises(TokenRejected, match="made for another key"):
        await server.accept(token, OTHER_KEY)
    assert not used.digests


async def test_a_stolen_token_is_worth_nothing_on_another_connection(idp: Idp, used: UsedTokens) -> None:
    first, second = exchange(idp, used), exchange(idp, used)
    token = token_for(idp, read_hello(first.hello()))
    assert read_hello(first.hello()).challenge != read_hello(second.hello()).challenge
    with pytest.raises(TokenRejected, match="made for another key or another attempt"):
        await second.accept(token, KEY)


async def test_a_token_of_another_sign_in_at_the_same_client_is_refused(idp: Idp, used: UsedTokens) -> None:
    with pytest.raises(TokenRejected) as caught:
        await exchange(idp, used).accept(idp.token(nonce=...), KEY)
    assert caught.value.reason == "the nonce is missing"


async def test_a_token_is_good_once_although_a_challenge_came_up_again(idp: Idp, used: UsedTokens) -> None:
    first, second = exchange(idp, used, "same"), exchange(idp, used, "same")
    token = token_for(idp, read_hello(first.hello()))
    await first.accept(token, KEY)
    with pytest.raises(TokenRejected, match="has been used before"):
        await second.accept(token, KEY)


async def test_a_challenge_is_good_for_one_try(idp: Idp, used: UsedTokens) -> None:
    server = exchange(idp, used)
    token = token_for(idp, read_hello(server.hello()))
    with pytest.raises(TokenRejected):
        await server.accept("a.b.c", KEY)
    with pytest.raises(TokenRejected, match="challenge has been used"):
        await server.accept(token, KEY)


async def test_a_person_without_a_usable_name_does_not_use_up_the_token(idp: Idp, used: UsedTokens) -> None:
    server = exchange(idp, used)
    nonce = key_bound_nonce(read_hello(server.hello()).challenge, KEY)
    with pytest.raises(SignInError, match="reserved"):
        await server.accept(idp.token(nonce=nonce, preferred_username="root"), KEY)
    assert not used.digests


def test_answers_are_read_as_they_were_written() -> None:
    for answer in (
        Granted(certificate="ssh-ed25519-cert-v01@openssh.com AAAA", expires_at=1.5, user="alice"),
        Refused(error="no\nway", hint="go\x1b[2J home"),
    ):
        line = write_answer(answer)
        assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.isascii()
        assert read_answer(line) == answer


def test_a_refusal_in_the_place_of_hello_is_passed_on() -> None:
    with pytest.raises(SignInError, match="busy") as caught:
        read_hello(write_answer(Refused(error="busy", hint="later")))
    assert caught.value.hint == "later"


@pytest.mark.parametrize("read", [read_hello, read_token, read_answer])
@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"{", b"[]", b"null", b"{}", b'{"hello": {}}', b'{"id_token": 5}', b'{"certificate": "x"}',
        b'{"error": "x"}', b"SSH-2.0-OpenSSH\r\n", b"\xff\xfe", b"[" * 60_000, b" " * (LARGEST_MESSAGE + 1),
        b'{"hello": {"issuer": "x", "client_id": "x", "scopes": [5], "challenge": "x", "browser": true}}',
        b'{"hello": {"issuer": "x", "client_id": "x", "scopes": "x", "challenge": "x", "browser": true}}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_part_of_it_is_refused(read: object, line: bytes) -> None:
    assert callable(read)
    with pytest.raises(SignInError):
        read(line)
