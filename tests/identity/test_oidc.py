"""What is fetched from a provider, how often, and what a person reads when that fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bastion.config import model
from bastion.errors import KeyFileError, SignInError
from bastion.identity import fetch
from bastion.identity.oidc import LIFETIME, SPACING, Provider
from bastion.identity.web import Response
from tests.identity.idp import EC, Idp, public

DISCOVERY = "/.well-known/openid-configuration"


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
async def idp() -> AsyncIterator[Idp]:
    async with Idp() as idp:
        yield idp


async def test_keys_are_fetched_once_for_everybody_who_asks_at_the_same_time(idp: Idp) -> None:
    provider = Provider(idp.settings())
    sets = await asyncio.gather(*(provider.keys() for _ in range(20)))
    assert len({id(keys) for keys in sets}) == 1
    assert idp.fetched == {DISCOVERY: 1, "/jwks": 1}


async def test_keys_are_fetched_again_after_an_hour(idp: Idp) -> None:
    clock = Clock()
    provider = Provider(idp.settings(), monotonic=clock)
    await provider.keys()
    clock.time += LIFETIME - 1
    await provider.keys()
    assert idp.fetched["/jwks"] == 1
    clock.time += 1
    await provider.keys()
    assert idp.fetched["/jwks"] == 2


async def test_newer_keys_are_fetched_at_most_once_in_thirty_seconds(idp: Idp) -> None:
    clock = Clock()
    provider = Provider(idp.settings(), monotonic=clock)
    first = await provider.keys()
    second = await provider.newer_keys(first)
    assert second is not first
    assert await provider.newer_keys(second) is second  # too soon
    assert await provider.newer_keys(first) is second  # another caller had it fetched already
    clock.time += SPACING
    assert await provider.newer_keys(second) is not second
    assert idp.fetched["/jwks"] == 3


async def test_everybody_who_waits_for_a_fetch_shares_its_failure(idp: Idp) -> None:
    idp.broken["/jwks"] = Response(status=500)
    provider = Provider(idp.settings())
    await provider.metadata()
    outcomes = await asyncio.gather(*(provider.keys() for _ in range(10)), return_exceptions=True)
    assert all(isinstance(outcome, SignInError) for outcome in outcomes)
    assert idp.fetched["/jwks"] == 1
    del idp.broken["/jwks"]
    assert await provider.keys()  # a failure is not kept


async def test_a_caller_who_gives_up_leaves_the_others_their_fetch(idp: Idp) -> None:
    idp.hold = asyncio.Event()
    provider = Provider(idp.settings())
    async with asyncio.TaskGroup() as group:
        impatient = group.create_task(provider.keys())
        patient = group.create_task(provider.keys())
        while not idp.fetched:
            await asyncio.sleep(0)
        impatient.cancel()
        idp.hold.set()
    assert impatient.cancelled() and patient.result()


async def test_a_provider_that_is_down_is_said_so_and_that_certificates_keep_working() -> None:
    with socket.socket() as nobody:  # bound and not listening
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        provider = Provider(model.Issuer(alias="corp", issuer=url, client_id="bastion"))
        with pytest.raises(SignInError, match="sign-in is not available") as caught:
            await provider.keys()
    assert "certificates that are still valid keep working" in caught.value.message
    assert caught.value.hint


async def test_a_provider_that_does_not_answer_is_given_up_on(
    idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", 0.05)
    idp.hold = asyncio.Event()
    with pytest.raises(SignInError, match="did not answer within"):
        await Provider(idp.settings()).keys()
    idp.hold.set()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Response(status=503, body=b"{}"), "status 503"),
        (Response(status=302, headers={"Location": "https://elsewhere.example/"}), "status 302"),
        (Response(body=b"<html>"), "did not answer with JSON"),
        (Response(body=b"[]"), "JSON object"),
        (Response(body=b"[" * 100_000), "did not answer with JSON"),
        (Response(body=b" " * (fetch.LARGEST_RESPONSE + 1)), "too large"),
        (Response(body=b"x", headers={"Content-Encoding": "gzip"}), "compressed"),
    ],
    ids=["down", "redirect", "no JSON", "no object", "deep", "large", "compressed"],
)
@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
async def test_an_answer_that_makes_no_sense_is_refused(
    idp: Idp, path: str, answer: Response, why: str
) -> None:
    idp.broken[path] = answer
    with pytest.raises(SignInError, match=why):
        await Provider(idp.settings()).keys()


@pytest.mark.parametrize("issuer", ["https://evil.example", None, 5, ["x"]])
async def test_a_discovery_document_of_another_issuer_is_refused(idp: Idp, issuer: object) -> None:
    idp.discovery["issuer"] = issuer
    with pytest.raises(SignInError, match="calls itself"):
        await Provider(idp.settings()).metadata()


async def test_a_trailing_slash_makes_another_issuer(idp: Idp) -> None:
    with pytest.raises(SignInError, match="calls itself"):
        await Provider(idp.settings(issuer=f"{idp.url}/")).metadata()


@pytest.mark.parametrize("endpoint", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "url", [None, 5, "", "/jwks", "ftp://127.0.0.1/", "http://idp.example/jwks", "https://a b/"]
)
async def test_an_endpoint_that_cannot_be_used_is_refused(idp: Idp, endpoint: str, url: object) -> None:
    idp.discovery[endpoint] = url
    with pytest.raises(SignInError, match=f"no usable {endpoint}"):
        await Provider(idp.settings()).metadata()


async def test_a_provider_without_device_grant_is_a_provider(idp: Idp) -> None:
    del idp.discovery["device_authorization_endpoint"]
    metadata = await Provider(idp.settings()).metadata()
    assert metadata.device_authorization_endpoint is None and not metadata.answers_with_issuer


@pytest.mark.parametrize(
    ("url", "issuer", "is_fit"),
    [
        ("https://idp.example/jwks", "https://idp.example", True),
        ("https://keys.example/jwks", "https://idp.example", True),
        ("http://idp.example/jwks", "https://idp.example", False),
        ("http://127.0.0.1/jwks", "https://idp.example", False),  # nobody outside may send us to ourselves
        ("http://127.0.0.1:9400/jwks", "http://127.0.0.1:9400", True),
        ("http://[::1]:9400/jwks", "http://localhost:9400", True),
        ("http://localhost.evil.example/", "http://localhost:9400", False),
        ("http://127.0.0.1.evil.example/", "http://localhost:9400", False),
        ("https:///jwks", "https://idp.example", False),
        ("https://[::1", "https://idp.example", False),
        ("https://idp.example/\x1b[2J", "https://idp.example", False),
        ("https://idp.exämple/", "https://idp.example", False),
        ("javascript:alert(1)", "https://idp.example", False),
    ],
)
def test_only_https_is_used_or_this_machine_from_this_machine(url: str, issuer: str, is_fit: bool) -> None:
    assert fetch.is_fit_url(url, issuer=issuer) is is_fit


async def test_keys_that_are_no_list_are_refused(idp: Idp) -> None:
    idp.broken["/jwks"] = Response(body=b'{"keys": {}}')
    with pytest.raises(SignInError, match="no list of keys"):
        await Provider(idp.settings()).keys()


async def test_a_flood_of_keys_is_cut_off(idp: Idp) -> None:
    idp.keys = [public(EC, kid=str(number)) for number in range(150)]
    keys = await Provider(idp.settings()).keys()
    assert len(keys.keys) == 100


def test_a_client_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    settings = model.Issuer(
        alias="corp", issuer="https://idp.example", client_id="bastion", client_secret_file=path
    )
    with pytest.raises(KeyFileError):
        Provider(settings)
    path.write_text("s3cret\n")
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="0640") as caught:
        Provider(settings)
    assert "chmod 600" in caught.value.hint
    path.chmod(0o600)
    provider = Provider(settings)
    assert provider.client_secret is not None and provider.client_secret.reveal() == "s3cret"
    path.write_text(" \n")
    with pytest.raises(KeyFileError, match="empty"):
        Provider(settings)
