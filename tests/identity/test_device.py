"""Sign-in by a code shown in the terminal."""

from __future__ import annotations

import asyncio

import pytest

from bastion.errors import SignInError
from bastion.identity.development import DevelopmentIssuer
from bastion.identity.device import LONGEST_WAIT, DeviceLogin
from bastion.identity.oidc import Provider
from tests.browser import approve_device, deny_device


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
