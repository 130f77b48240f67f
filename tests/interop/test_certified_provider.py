"""Sign-in at a certified OpenID provider that others wrote: what we believe of the protocol is what it means."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from bastion.config import model
from bastion.errors import SignInError, TokenRejected
from bastion.identity.device import DeviceLogin
from bastion.identity.exchange import Exchange, Hello, key_bound_nonce, read_hello
from bastion.identity.loopback import provider_of, sign_in_with_browser
from bastion.identity.oauth import Tokens, ask_for_device_code, redeem_device_code
from bastion.identity.oidc import Provider
from bastion.identity.people import Identity
from bastion.identity.verifier import verify_id_token
from bastion.runtime.secrets import Secret
from tests.browser import Browser
from tests.identity.door import Door
from tests.identity.laptop import CODE, Laptop

pytestmark = pytest.mark.interop

KEY = b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(32)


def provider(issuer: str, **over: Any) -> Provider:
    return Provider(model.Issuer(**{"alias": "op", "issuer": issuer, "client_id": "bastion", **over}))


async def steer(issuer: str, command: str) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        (await client.get(f"{issuer}/-/{command}")).raise_for_status()


async def fill_in(browser: Browser, person: str) -> None:
    """Sign in and consent, page by page, until there is no form any more."""
    while (form := browser.form) is not None:
        assert browser.page.status_code == 200, browser.page.text
        await browser.submit(**({"login": person, "password": "any"} if "login" in form.fields else {}))


async def approve(login: DeviceLogin, person: str) -> None:
    async with Browser() as browser:
        await browser.open(login.verification_uri)
        await browser.submit(user_code=login.user_code)
        await fill_in(browser, person)


async def sign_in_by_code(subject: Provider, person: str) -> Identity:
    login = await DeviceLogin.start(subject)
    await approve(login, person)
    login.interval = 0.1  # it names none, and the five seconds of the RFC are long for a test
    return await login.wait()


async def sign_in_by_browser(hello: Hello, nonce: str, person: str) -> str:
    async with asyncio.TaskGroup() as group, Browser() as browser:

        async def browse(url: str) -> None:
            await browser.open(url)
            await fill_in(browser, person)

        async def show_url(url: str) -> None:
            group.create_task(browse(url))

        token = await sign_in_with_browser(provider_of(hello), nonce=nonce, show_url=show_url)
    return token.reveal()


def exchange(subject: Provider) -> Exchange:
    used: set[str] = set()

    async def use(digest: str, expires_at: float) -> bool:
        is_new = digest not in used
        used.add(digest)
        return is_new

    return Exchange(subject, use_token=use, now=time.time)


async def test_a_person_signs_in_by_code_with_their_groups(certified: str) -> None:
    identity = await sign_in_by_code(provider(certified), "alice")
    assert (identity.user, identity.subject, identity.groups) == ("alice", "alice", ("sre", "dba"))


async def test_a_person_signs_in_by_the_browser_with_a_nonce_bound_to_their_key(certified: str) -> None:
    server = exchange(provider(certified))
    hello = read_hello(server.hello())
    token = await sign_in_by_browser(hello, key_bound_nonce(hello.challenge, KEY), "alice")
    identity = await server.accept(token, KEY)
    assert (identity.user, identity.groups) == ("alice", ("sre", "dba"))


async def test_the_same_token_is_worth_nothing_for_another_key(certified: str) -> None:
    server = exchange(provider(certified))
    hello = read_hello(server.hello())
    token = await sign_in_by_browser(hello, key_bound_nonce(hello.challenge, KEY), "alice")
    with pytest.raises(TokenRejected, match="made for another key"):
        await server.accept(token, KEY + b"\1")


async def test_tokens_signed_with_es256_are_accepted(certified: str) -> None:
    assert (await sign_in_by_code(provider(certified, client_id="bastion-es256"), "bob")).groups == ("dev",)


async def test_an_e_mail_address_names_a_person_only_when_it_is_verified(certified: str) -> None:
    by_email = provider(certified, user_claim="email")
    assert (await sign_in_by_code(by_email, "alice")).user == "alice@example.test"
    with pytest.raises(SignInError, match="has not verified"):
        await sign_in_by_code(by_email, "bob")


@pytest.mark.parametrize("way", ["soft", "hard"])
async def test_people_go_on_signing_in_when_the_keys_are_rotated(certified: str, way: str) -> None:
    subject = provider(certified)
    before = await token_by_code(subject)
    await verify_id_token(subject, before, now=time.time())
    await steer(certified, f"rotate/{way}")
    assert (await sign_in_by_code(subject, "alice")).user == "alice"
    if way == "soft":
        assert (await verify_id_token(subject, before, now=time.time())).subject == "alice"
    else:
        with pytest.raises(TokenRejected, match="could not be verified"):
            await verify_id_token(subject, before, now=time.time())


async def token_by_code(subject: Provider) -> str:
    answer = await ask_for_device_code(subject)
    assert isinstance(answer, dict)
    async with Browser() as browser:
        await browser.open(answer["verification_uri"])
        await browser.submit(user_code=answer["user_code"])
        await fill_in(browser, "alice")
    tokens = await redeem_device_code(subject, Secret(answer["device_code"]))
    assert isinstance(tokens, Tokens)
    return tokens.id_token.reveal()


async def test_a_token_for_another_application_signs_nobody_in(certified: str) -> None:
    token = await token_by_code(provider(certified, client_id="another-application"))
    with pytest.raises(TokenRejected, match="made for another application"):
        await verify_id_token(provider(certified), token, now=time.time())


async def test_a_person_who_denies_the_code_is_told_so(certified: str) -> None:
    login = await DeviceLogin.start(provider(certified))
    async with Browser() as browser:
        await browser.open(login.verification_uri)
        await browser.submit(user_code=login.user_code)
        form = browser.form
        assert form is not None and ("abort", "yes") in form.buttons
        await browser.submit(abort="yes")
    login.interval = 0.1
    with pytest.raises(SignInError, match="denied in the browser"):
        await login.wait()


async def test_a_person_who_cancels_in_the_browser_is_told_so(certified: str) -> None:
    pages: list[str] = []

    async def cancel(url: str) -> None:
        async with Browser() as browser:
            await browser.open(url)
            await browser.open(f"{str(browser.page.url).rstrip('/')}/abort")
            pages.append(browser.page.text)

    async def sign_in() -> None:
        async with asyncio.TaskGroup() as group:

            async def show_url(url: str) -> None:
                group.create_task(cancel(url))

            await sign_in_with_browser(provider(certified), nonce="n", show_url=show_url)

    with pytest.raises(ExceptionGroup) as caught:
        await sign_in()
    assert "denied in the browser" in str(caught.value.exceptions[0])
    assert "Not signed in" in pages[0]


async def test_a_person_who_was_disabled_meanwhile_is_not_let_in(certified: str) -> None:
    login = await DeviceLogin.start(provider(certified))
    await approve(login, "bob")
    await steer(certified, "disable/bob")
    login.interval = 0.1
    try:
        with pytest.raises(SignInError, match="invalid_grant"):
            await login.wait()
    finally:
        await steer(certified, "enable/bob")


async def test_a_client_with_a_secret_signs_people_in_by_code_also_from_the_command_line(
    certified: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("not so secret, for tests\n")
    confidential = provider(certified, client_id="bastion-with-secret", client_secret_file=secret)
    assert not read_hello(exchange(confidential).hello()).browser
    async with Door(confidential) as door:
        laptop = Laptop(home=tmp_path / "home", door=door)
        command = await laptop.start(f"127.0.0.1:{door.port}", "--accept-host-key", laptop.fingerprint)
        code = await command.says(CODE)
        async with Browser() as browser:
            await browser.open(f"{certified}/device")
            await browser.submit(user_code=code)
            await fill_in(browser, "alice")
        status, _, error = await command.ends()
    assert (status, "as alice" in error, "not so secret" in error) == (0, True, False), error


async def test_a_client_with_a_wrong_secret_is_told_in_words(certified: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("wrong")
    with pytest.raises(SignInError, match="does not let this bastion sign people in"):
        await DeviceLogin.start(
            provider(certified, client_id="bastion-with-secret", client_secret_file=secret)
        )
