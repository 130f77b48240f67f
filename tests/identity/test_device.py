"""Sign-in by a code shown in the terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bastion.config import model
from bastion.errors import SignInError, TokenRejected
from bastion.identity.development import DevelopmentIssuer
from bastion.identity.device import LONGEST_WAIT, DeviceLogin, sign_in_text, why_no_code
from bastion.identity.oidc import Provider
from bastion.identity.web import Response
from tests.browser import approve_device, deny_device
from tests.identity.idp import NOW, Idp

ANSWER = {
    "device_code": "the device code",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://idp.example/device",
    "expires_in": 600,
}


@pytest.fixture
async def idp() -> AsyncIterator[Idp]:
    async with Idp() as idp:
        idp.broken["/device/code"] = answer(ANSWER)
        yield idp


def answer(document: Any, status: int = 200) -> Response:
    return Response(status=status, body=json.dumps(document).encode(), content_type="application/json")


class Patience:
    """A clock that only sleeping moves, and what the provider says at each poll."""

    def __init__(self, idp: Idp, *answers: Response) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self._idp = idp
        self._answers = list(answers)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        self._idp.broken["/token"] = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    async def wait_for(self, login: DeviceLogin) -> str:
        identity = await login.wait(now=lambda: NOW, monotonic=lambda: self.time, sleep=self.sleep)
        return identity.user


async def test_a_person_who_approves_the_code_is_signed_in(
    issuer: DevelopmentIssuer, provider: Provider
) -> None:
    login = await DeviceLogin.start(provider)
    assert login.expires_in == LONGEST_WAIT
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(login.wait())
        group.create_task(approve_device(issuer.url, login.user_code.lower(), "alice"))
    identity = waiting.result()
    assert (identity.user, identity.subject, identity.groups) == ("alice", "dev-alice", ("sre", "dba"))
    assert (identity.issuer, identity.issuer_alias) == (issuer.url, "dev")


async def test_a_person_who_denies_the_code_is_told_so(issuer: DevelopmentIssuer, provider: Provider) -> None:
    login = await DeviceLogin.start(provider)
    await deny_device(issuer.url, login.user_code)
    with pytest.raises(SignInError, match="denied in the browser"):
        await login.wait()


async def test_polling_slows_down_when_told_to_and_backs_off_when_the_provider_is_away(idp: Idp) -> None:
    patience = Patience(
        idp,
        answer({"error": "authorization_pending"}, 400),
        answer({"error": "slow_down"}, 400),
        Response(status=503),
        Response(body=b"<html>"),
        answer({"id_token": idp.token(nonce=...), "access_token": "a", "token_type": "Bearer"}),
    )
    assert await patience.wait_for(await DeviceLogin.start(Provider(idp.settings()))) == "alice"
    assert patience.slept == [5, 5, 10, 20, 30]


async def test_a_code_lives_170_seconds_at_most(idp: Idp) -> None:
    patience = Patience(idp, answer({"error": "authorization_pending"}, 400))
    login = await DeviceLogin.start(Provider(idp.settings()))
    with pytest.raises(SignInError, match="the code has expired"):
        await patience.wait_for(login)
    assert patience.time == LONGEST_WAIT


async def test_a_code_lives_no_longer_than_the_provider_says(idp: Idp) -> None:
    idp.broken["/device/code"] = answer(ANSWER | {"expires_in": 12, "interval": 7})
    patience = Patience(idp, answer({"error": "authorization_pending"}, 400))
    login = await DeviceLogin.start(Provider(idp.settings()))
    with pytest.raises(SignInError, match="the code has expired"):
        await patience.wait_for(login)
    assert patience.slept == [7, 5]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("access_denied", "denied in the browser"),
        ("expired_token", "the code has expired"),
        ("invalid_client", "does not let this bastion sign people in by code"),
        ("invalid_grant", "invalid_grant"),
        ("\x1b[2J", r"\\x1b\[2J"),
    ],
)
async def test_an_error_of_the_provider_ends_the_wait_with_words_for_it(
    idp: Idp, error: str, words: str
) -> None:
    login = await DeviceLogin.start(Provider(idp.settings()))
    with pytest.raises(SignInError, match=words) as caught:
        await Patience(idp, answer({"error": error}, 400)).wait_for(login)
    assert str(caught.value).replace("\n", "").isprintable()


async def test_an_error_instead_of_a_code_is_told(idp: Idp) -> None:
    idp.broken["/device/code"] = answer({"error": "unauthorized_client"}, 401)
    with pytest.raises(SignInError, match="does not let this bastion"):
        await DeviceLogin.start(Provider(idp.settings()))


async def test_a_token_that_is_not_for_us_signs_nobody_in(idp: Idp) -> None:
    login = await DeviceLogin.start(Provider(idp.settings()))
    with pytest.raises(TokenRejected):
        await Patience(idp, answer({"id_token": idp.token(aud="other"), "access_token": "a"})).wait_for(login)


async def test_an_answer_without_id_token_names_the_scope(idp: Idp) -> None:
    login = await DeviceLogin.start(Provider(idp.settings()))
    with pytest.raises(SignInError, match="no ID token") as caught:
        await Patience(idp, answer({"access_token": "a", "token_type": "Bearer"})).wait_for(login)
    assert "openid" in caught.value.hint


@pytest.mark.parametrize(
    "over",
    [
        {"user_code": "\x1b]0;title\x07"},
        {"user_code": ""},
        {"user_code": "X" * 65},
        {"user_code": 5},
        {"device_code": None},
        {"verification_uri": "http://idp.example/device"},
        {"verification_uri": "https://idp.example/\x1b[2J"},
        {"verification_uri": "javascript:alert(1)"},
    ],
    ids=str,
)
async def test_a_code_or_address_that_cannot_be_shown_is_refused(idp: Idp, over: dict[str, Any]) -> None:
    idp.broken["/device/code"] = answer(ANSWER | over)
    with pytest.raises(SignInError, match="no usable"):
        await DeviceLogin.start(Provider(idp.settings()))


@pytest.mark.parametrize("value", [0, -1, "soon", None, True, float("nan")])
async def test_times_that_make_no_sense_give_way_to_the_defaults(idp: Idp, value: object) -> None:
    idp.broken["/device/code"] = answer(ANSWER | {"expires_in": value, "interval": value})
    login = await DeviceLogin.start(Provider(idp.settings()))
    assert (login.expires_in, login.interval) == (LONGEST_WAIT, 5)


async def test_the_address_of_google_is_read_under_its_older_name(idp: Idp) -> None:
    older = {
        "verification_url" if name == "verification_uri" else name: value for name, value in ANSWER.items()
    }
    idp.broken["/device/code"] = answer(older)
    login = await DeviceLogin.start(Provider(idp.settings()))
    assert login.verification_uri == "https://idp.example/device"


async def test_waiting_can_be_cancelled(provider: Provider) -> None:
    login = await DeviceLogin.start(provider)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await login.wait()


async def test_a_provider_without_the_grant_points_to_the_browser(idp: Idp) -> None:
    del idp.discovery["device_authorization_endpoint"]
    with pytest.raises(SignInError, match="not offered") as caught:
        await DeviceLogin.start(Provider(idp.settings()))
    assert "bastion login" in caught.value.hint


async def test_a_bastion_with_codes_turned_off_gives_none(idp: Idp) -> None:
    with pytest.raises(SignInError, match="turned off"):
        await DeviceLogin.start(Provider(idp.settings(device_flow=False)))
    assert not idp.fetched


async def test_the_text_says_who_asked_and_carries_no_link_with_the_code_in_it(provider: Provider) -> None:
    login = await DeviceLogin.start(provider)
    text = sign_in_text(login, client_address="203.0.113.5", key_fingerprint="SHA256:abc")
    assert "203.0.113.5\nwith the key SHA256:abc" in text and "only if YOU started this" in text
    assert f"    {login.verification_uri}\n    {login.user_code}\n" in text and "user_code=" not in text
    assert "with the key" not in sign_in_text(login, client_address="203.0.113.5")
    assert max(map(len, text.splitlines())) <= 82  # with an address of 15 characters


@pytest.mark.parametrize(
    ("networks", "address", "may"),
    [
        ((), "203.0.113.5", True),
        (("10.0.0.0/8", "fd00::/8"), "10.1.2.3", True),
        (("10.0.0.0/8", "fd00::/8"), "fd00::1", True),
        (("10.0.0.0/8", "fd00::/8"), "::ffff:10.1.2.3", True),
        (("10.0.0.0/8", "fe80::/10"), "fe80::1%eth0", True),
        (("10.0.0.0/8", "fd00::/8"), "203.0.113.5", False),
        (("10.0.0.0/8",), "::1", False),
        (("10.0.0.0/8",), "", False),
    ],
)
def test_codes_can_be_limited_to_networks(networks: tuple[str, ...], address: str, may: bool) -> None:
    settings = model.Issuer(alias="c", issuer="https://idp.example", client_id="b", device_flow_from=networks)
    assert (why_no_code(settings, address) is None) is may
    off = settings.model_copy(update={"device_flow": False})
    assert why_no_code(off, address) == "sign-in by code is turned off here"
