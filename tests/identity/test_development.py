"""The development issuer: the protocol as a real provider speaks it, and pages that nothing can be slipped into."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]

from bastion.config import model
from bastion.errors import ConfigError, TokenRejected
from bastion.identity.development import DevelopmentIssuer
from bastion.identity.oauth import Refusal, Tokens, ask_for_device_code, redeem_device_code
from bastion.identity.oidc import Provider
from bastion.identity.verifier import verify_id_token
from bastion.runtime.secrets import Secret
from tests.browser import Browser, approve_device, deny_device
from tests.identity.conftest import PEOPLE

REDIRECT = "http://127.0.0.1:1/callback"
VERIFIER = "v" * 43


class Clock:
    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time


def authorization(issuer: DevelopmentIssuer, **over: str | None) -> str:
    query = {
        "client_id": "bastion",
        "redirect_uri": REDIRECT,
        "response_type": "code",
        "scope": "openid profile",
        "state": "s&<>",
        "nonce": "n",
        "code_challenge": create_s256_code_challenge(VERIFIER),
        "code_challenge_method": "S256",
        **over,
    }
    return f"{issuer.url}/authorize?{urlencode({name: value for name, value in query.items() if value is not None})}"


async def send(method: str, url: str, **options: Any) -> httpx2.Response:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.request(method, url, **options)


async def code_for(issuer: DevelopmentIssuer, person: str = "alice") -> str:
    answer = await send("POST", authorization(issuer), data={"person": person, "decision": "approve"})
    assert answer.status_code == 303
    return httpx2.URL(answer.headers["Location"]).params["code"]


async def redeem(issuer: DevelopmentIssuer, **form: str) -> httpx2.Response:
    full = {
        "client_id": "bastion",
        "grant_type": "authorization_code",
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }
    return await send("POST", f"{issuer.url}/token", data=full | form)


async def test_a_code_is_redeemed_once_by_whoever_knows_the_verifier(issuer: DevelopmentIssuer) -> None:
    code = await code_for(issuer)
    token = (await redeem(issuer, code=code)).json()["id_token"]
    verified = await verify_id_token(Provider(issuer.client_settings), token, now=time.time(), nonce="n")
    assert verified.claims["groups"] == ["sre", "dba"] and verified.claims["email_verified"] is True
    assert (await redeem(issuer, code=code)).json() == {"error": "invalid_grant"}


@pytest.mark.parametrize(
    "form",
    [{"code_verifier": "w" * 43}, {"code_verifier": ""}, {"redirect_uri": "http://127.0.0.1:2/callback"}],
)
async def test_a_code_is_worth_nothing_to_others(issuer: DevelopmentIssuer, form: dict[str, str]) -> None:
    assert (await redeem(issuer, code=await code_for(issuer), **form)).json() == {"error": "invalid_grant"}


async def test_other_clients_and_grants_are_refused(issuer: DevelopmentIssuer) -> None:
    assert (await redeem(issuer, client_id="other", code="x")).json() == {"error": "invalid_client"}
    assert (await redeem(issuer, grant_type="password")).json() == {"error": "unsupported_grant_type"}
    answer = await send("POST", f"{issuer.url}/device/code", data={"client_id": "other"})
    assert answer.json() == {"error": "invalid_client"}


@pytest.mark.parametrize(
    "over",
    [
        {"client_id": "other"},
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "http://evil.example/callback"},
        {"redirect_uri": "http://127.0.0.1:1/callback?x=1"},
        {"redirect_uri": "http://127.0.0.1:1/\r\nSet-Cookie: a=b"},
        {"redirect_uri": "http://[::1"},
        {"redirect_uri": None},
        {"response_type": "token"},
        {"scope": "profile"},
        {"code_challenge": None},
        {"code_challenge_method": "plain"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_that_is_not_right_is_never_redirected(
    issuer: DevelopmentIssuer, method: str, over: dict[str, str | None]
) -> None:
    form = {"person": "alice", "decision": "approve"} if method == "POST" else None
    answer = await send(method, authorization(issuer, **over), data=form)
    assert answer.status_code == 400 and "Location" not in answer.headers


@pytest.mark.parametrize("form", [{}, {"person": "alice"}, {"person": "mallory", "decision": "approve"}])
async def test_nobody_is_signed_in_without_a_choice(issuer: DevelopmentIssuer, form: dict[str, str]) -> None:
    assert (await send("POST", authorization(issuer), data=form)).status_code == 400


async def test_a_code_grant_expires() -> None:
    clock = Clock()
    issuer = DevelopmentIssuer(model.DevelopmentIssuer(port=0, people=PEOPLE), now=clock)
    await issuer.start()
    code = await code_for(issuer)
    clock.time += 60
    assert (await redeem(issuer, code=code)).json() == {"error": "invalid_grant"}
    await issuer.close()


async def test_a_device_is_told_to_wait_to_slow_down_and_that_time_is_up() -> None:
    clock = Clock()
    issuer = DevelopmentIssuer(
        model.DevelopmentIssuer(port=0, people=PEOPLE), now=clock, interval=5, device_lifetime=100
    )
    await issuer.start()
    provider = Provider(issuer.client_settings)
    answer = await ask_for_device_code(provider)
    assert not isinstance(answer, Refusal) and (answer["interval"], answer["expires_in"]) == (5, 100)
    code = Secret(str(answer["device_code"]))
    heard = []
    for pause in (5, 5, 1, 5, 90):
        clock.time += pause
        match await redeem_device_code(provider, code):
            case Refusal(error=error):
                heard.append(error)
    assert heard == [
        "authorization_pending", "authorization_pending", "slow_down", "authorization_pending", "expired_token",
    ]  # fmt: skip
    assert "No terminal waits" in await approve_text(issuer, str(answer["user_code"]))
    await issuer.close()


async def approve_text(issuer: DevelopmentIssuer, user_code: str) -> str:
    return (
        await send(
            "POST",
            f"{issuer.url}/device",
            data={"user_code": user_code, "person": "alice", "decision": "approve"},
        )
    ).text


async def test_a_device_code_is_good_once_and_decided_once(issuer: DevelopmentIssuer) -> None:
    provider = Provider(issuer.client_settings)
    answer = await ask_for_device_code(provider)
    assert not isinstance(answer, Refusal)
    user_code, device_code = str(answer["user_code"]), Secret(str(answer["device_code"]))
    assert "Welcome, Alice Example" in await approve_device(issuer.url, f" {user_code.lower()} ", "alice")
    assert "No terminal waits" in await approve_text(issuer, user_code)
    assert isinstance(await redeem_device_code(provider, device_code), Tokens)
    assert await redeem_device_code(provider, device_code) == Refusal(error="invalid_grant")


async def test_a_denied_device_stays_denied(issuer: DevelopmentIssuer) -> None:
    provider = Provider(issuer.client_settings)
    answer = await ask_for_device_code(provider)
    assert not isinstance(answer, Refusal)
    assert "Nobody was let in" in await deny_device(issuer.url, str(answer["user_code"]))
    assert "No terminal waits" in await approve_text(issuer, str(answer["user_code"]))
    assert await redeem_device_code(provider, Secret(str(answer["device_code"]))) == Refusal(
        error="access_denied"
    )


async def test_the_number_of_codes_that_are_out_is_bounded(issuer: DevelopmentIssuer) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        url, form = f"{issuer.url}/device/code", {"client_id": "bastion"}
        answers = [(await client.post(url, data=form)).status_code for _ in range(201)]
    assert answers == [200] * 200 + [400]


@pytest.mark.parametrize("keep_old", [True, False], ids=["soft", "hard"])
async def test_keys_rotate(issuer: DevelopmentIssuer, keep_old: bool) -> None:
    provider = Provider(issuer.client_settings)
    old = (await redeem(issuer, code=await code_for(issuer))).json()["id_token"]
    issuer.rotate(keep_old=keep_old)
    new = (await redeem(issuer, code=await code_for(issuer))).json()["id_token"]
    assert (await verify_id_token(provider, new, now=time.time(), nonce="n")).subject
    if keep_old:
        assert (await verify_id_token(provider, old, now=time.time(), nonce="n")).subject
    else:
        with pytest.raises(TokenRejected):
            await verify_id_token(provider, old, now=time.time(), nonce="n")


async def test_pages_escape_what_is_not_theirs_and_allow_no_foreign_script() -> None:
    nasty = model.DevelopmentPerson(user="o'<b>\"", name="<script>alert(1)</script>", groups=("<i>",))
    issuer = DevelopmentIssuer(model.DevelopmentIssuer(port=0, people=(nasty,)))
    await issuer.start()
    provider = Provider(issuer.client_settings)
    answer = await ask_for_device_code(provider)
    assert not isinstance(answer, Refusal)
    for url in (authorization(issuer), f"{issuer.url}/device?user_code={answer['user_code']}"):
        page = await send("GET", url)
        assert "<script>alert" not in page.text and "<b>" not in page.text and "<i>" not in page.text
        policy = page.headers["Content-Security-Policy"]
        assert (
            "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        )
        assert len(re.findall(r"<script>", page.text)) == 1
    async with Browser() as browser:
        await browser.open(authorization(issuer))
        form = browser.form
        assert form is not None and form.choices == {"person": [nasty.user]}
    await issuer.close()


async def test_its_pages_post_to_themselves_from_a_browser_only(issuer: DevelopmentIssuer) -> None:
    form = {"person": "alice", "decision": "approve"}
    evil = await send("POST", authorization(issuer), data=form, headers={"Origin": "https://evil.example"})
    assert evil.status_code == 403
    rebound = await send("POST", authorization(issuer), data=form, headers={"Host": "evil.example"})
    assert rebound.status_code == 421


async def test_what_is_not_there_is_not_found(issuer: DevelopmentIssuer) -> None:
    assert (await send("GET", f"{issuer.url}/userinfo")).status_code == 404
    assert "Enter the code" in (await send("GET", f"{issuer.url}/")).text


async def test_a_taken_port_is_named(issuer: DevelopmentIssuer) -> None:
    port = int(issuer.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"port {port}") as caught:
        await DevelopmentIssuer(model.DevelopmentIssuer(port=port, people=PEOPLE)).start()
    assert "development_issuer" in caught.value.hint
