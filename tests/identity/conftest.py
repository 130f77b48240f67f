"""A development issuer with two people, and the provider that trusts it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bastion.config import model
from bastion.identity.development import DevelopmentIssuer
from bastion.identity.oidc import Provider

PEOPLE = (
    model.DevelopmentPerson(user="alice", name="Alice Example", groups=("sre", "dba")),
    model.DevelopmentPerson(user="bob", groups=("dev",)),
)


@pytest.fixture
async def issuer() -> AsyncIterator[DevelopmentIssuer]:
    issuer = DevelopmentIssuer(model.DevelopmentIssuer(port=0, people=PEOPLE), interval=0.05)
    await issuer.start()
    yield issuer
    await issuer.close()


@pytest.fixture
def provider(issuer: DevelopmentIssuer) -> Provider:
    return Provider(issuer.client_settings)
