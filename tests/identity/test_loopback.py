"""Sign-in with the browser of this machine, and who else may knock at its loopback page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from bastion.errors import SignInError
from bastion.identity.development import DevelopmentIssuer
from bastion.identity.exchange import Hello
from bastion.identity.loopback import provider_of, sign_in_with_browser
from bastion.identity.oidc import Provider
from bastion.identity.verifier import verify_id_token
from tests.browser import refuse_sign_in, sign_in
from tests.identity.idp import Idp

Browse = Callable[[dict[str, str]], Coroutine[Any, Any, None]]


async def visit(provider: Provider, browse: Browse, **options: Any) -> str:
    """Sign in while *browse* acts on the query of the authorization URL; returns the ID token."""
    async with asyncio.TaskGroup() as group:

        async def show_url(url: str) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
            group.create_task(browse(query | {"url": url}))

        token = await sign_in_with_browser(provider, nonce="the nonce", show_url=show_url, **options)
    return token.reveal()


async def call_back(query: dict[str, str], *, path: str | None = None, **answer: str) -> httpx2.Response:
    """Go to the loopback page as the provider would send the browser there."""
    redirect = query["redirect_uri"] if path is None else query["redirect_uri"].replace("/callback", path)
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.get(f"{redirect}?{urlencode(answer)}")


async def refused(provider: Provider, browse: Browse, **options: Any) -> str:
    with pytest.raises(ExceptionGroup) as caught:
        await visit(provider, browse, **options)
    (error,) = caught.value.exceptions
    assert isinstance(error, SignInError)
    return error.message


async def test_a_person_signs_in_and_the_token_carries_the_nonce(issuer: DevelopmentIssuer) -> None:
    provider = Provider(issuer.client_settings)
    pages: list[str] = []

    async def browse(query: dict[str, str]) -> None:
        assert query["code_challenge_method"] == "S256" and query["nonce"] == "the nonce"
        pages.append((await sign_in(query["url"], "alice")).text)

    token = await visit(provider, browse)
    verified = await verify_id_token(provider, token, now=time.time(), nonce="the nonce")
    assert verified.claims["preferred_username"] == "alice"
    assert "You are signed in" in pages[0]


async def test_a_person_who_refuses_is_told_so_on_both_sides(issuer: DevelopmentIssuer) -> None:
    pages: list[str] = []

    async def browse(query: dict[str, str]) -> None:
        pages.append((await refuse_sign_in(query["url"])).text)

    assert "denied in the browser" in await refused(Provider(issuer.client_settings), browse)
    assert "Not signed in" in pages[0]


async def test_an_answer_with_another_state_does_not_count_and_does_not_disturb(
    issuer: DevelopmentIssuer,
) -> None:
    """Any page in the browser can send it to our port; only the right answer ends the wait."""

    async def browse(query: dict[str, str]) -> None:
        for forged in (
            {"code": "x"},
            {"code": "x", "state": "guess"},
            {"error": "access_denied", "state": ""},
        ):
            page = await call_back(query, **forged)
            assert page.status_code == 400 and "another sign-in" in page.text
        assert (await call_back(query, path="/favicon.ico")).status_code == 404
        await sign_in(query["url"], "alice")

    assert await visit(Provider(issuer.client_settings), browse)


@pytest.mark.parametrize("named", [{}, {"iss": "https://evil.example"}, {"iss": ""}])
async def test_an_answer_of_another_issuer_is_refused(
    issuer: DevelopmentIssuer, named: dict[str, str]
) -> None:
    async def browse(query: dict[str, str]) -> None:
        await call_back(query, code="x", state=query["state"], **named)

    assert "another provider" in await refused(Provider(issuer.client_settings), browse)


async def test_a_provider_that_does_not_name_itself_need_not() -> None:
    async with Idp() as idp:

        async def browse(query: dict[str, str]) -> None:
            await call_back(query, code="x", state=query["state"])

        # The code is tried, and this provider has no token endpoint that works.
        assert "sign-in is not available" in await refused(Provider(idp.settings()), browse)
        assert idp.fetched["/token"] == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "server_error"}, "refused the sign-in ('server_error')"),
        ({"error": "\x1b[2J<script>"}, r"refused the sign-in ('\x1b[2J<script>')"),
        ({}, "holds no code"),
        ({"code": ""}, "holds no code"),
    ],
)
async def test_an_answer_without_a_code_is_an_error(
    issuer: DevelopmentIssuer, answer: dict[str, str], words: str
) -> None:
    pages: list[str] = []

    async def browse(query: dict[str, str]) -> None:
        page = await call_back(query, state=query["state"], iss=issuer.url, **answer)
        pages.append(page.text)

    assert words in await refused(Provider(issuer.client_settings), browse)
    assert "<script>" not in pages[0]


async def test_a_code_that_the_provider_does_not_know_is_refused(issuer: DevelopmentIssuer) -> None:
    async def browse(query: dict[str, str]) -> None:
        await call_back(query, state=query["state"], iss=issuer.url, code="made up")

    assert "invalid_grant" in await refused(Provider(issuer.client_settings), browse)


async def test_nobody_is_waited_for_for_ever(issuer: DevelopmentIssuer) -> None:
    async def browse(query: dict[str, str]) -> None:
        """Look at the page, and do nothing."""

    assert "nobody has signed in" in await refused(Provider(issuer.client_settings), browse, timeout=0.05)


@pytest.mark.parametrize("url", ["http://idp.example", "idp.example", "", "https://\x1b[2J"])
def test_a_bastion_that_names_no_real_provider_is_not_followed(url: str) -> None:
    hello = Hello(issuer=url, client_id="b", scopes=("openid",), challenge="c", browser=True)
    with pytest.raises(SignInError, match="names a provider that cannot be used") as caught:
        provider_of(hello)
    assert caught.value.message.isprintable()
