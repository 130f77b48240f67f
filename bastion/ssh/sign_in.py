"""Signing in by a code in the terminal, and what becomes of an identity: a grant, and with it a person."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Self

import asyncssh
import structlog

from bastion.errors import SignInError, TokenRejected
from bastion.identity.device import DeviceLogin, sign_in_text, why_no_code
from bastion.identity.people import Identity
from bastion.identity.person import Person
from bastion.sessions.session import Client
from bastion.ssh.certificates import Rejected, person_of
from bastion.ssh.front import Front
from bastion.state.grants import Grant, grant_problem, new_grant

log = structlog.get_logger()


class DeviceSignIn:
    """One code that waits for its person; `close` gives its place among the pending ones back."""

    def __init__(self, front: Front, client: Client, key: asyncssh.SSHKey | None) -> None:
        self._front = front
        self._client = client
        self._fingerprint = key.get_fingerprint() if key is not None else None
        self._places = ExitStack()
        self._login: DeviceLogin | None = None

    @classmethod
    async def start(cls, front: Front, client: Client, key: asyncssh.SSHKey | None = None) -> Self:
        """Ask the provider for a code. Raises SignInError."""
        if refusal := why_no_code(front.provider().settings, client.address):
            raise SignInError(refusal, hint="Sign in with a browser instead: bastion login")
        sign_in = cls(front, client, key)
        sign_in._places.enter_context(
            front.pending_logins.waiting(address=client.address, key=sign_in._fingerprint)
        )
        try:
            sign_in._login = await DeviceLogin.start(front.provider())
        except BaseException:
            sign_in.close()
            raise
        return sign_in

    def text(self, problem: Rejected | None = None) -> str:
        """What the person reads; *problem* says why their certificate did not do."""
        assert self._login is not None
        words = sign_in_text(
            self._login, client_address=self._client.address, key_fingerprint=self._fingerprint
        )
        if problem is not None:
            words = f"The certificate you offered is not accepted: {problem.reason}\n\n{words}"
        return words

    async def identity(self) -> Identity:
        """Wait for the person. Raises SignInError."""
        assert self._login is not None
        try:
            return await self._login.wait(now=self._front.now)
        finally:
            self.close()

    async def finish(self) -> Person:
        """Wait for the person and let them in without a certificate. Raises SignInError."""
        try:
            identity = await self.identity()
            grant = await _admit(self._front, identity, "device", self._client)
            await self._front.state.grants.insert(grant)
        except SignInError as error:
            await record_refusal(self._front, self._client, error)
            raise
        await record_sign_in(self._front, self._client, grant)
        return person_of(grant)

    def close(self) -> None:
        self._places.close()


async def issue_certificate(
    front: Front, identity: Identity, method: str, client: Client, key: asyncssh.SSHKey
) -> tuple[str, Grant]:
    """A certificate for *key*, as one line of OpenSSH's form, and its grant. Raises SignInError."""
    grant = await _admit(front, identity, method, client)
    certificate, grant = await front.authorities.issue(key, grant)
    await record_sign_in(front, client, grant)
    return certificate, grant


async def _admit(front: Front, identity: Identity, method: str, client: Client) -> Grant:
    """A grant for *identity*, not stored yet. Raises SignInError for a name of somebody else's, or a locked user."""
    await front.state.identities.pin(identity.issuer, identity.subject, identity.user)
    grant = new_grant(
        user=identity.user,
        issuer=identity.issuer,
        issuer_alias=identity.issuer_alias,
        subject=identity.subject,
        groups=identity.groups,
        method=method,
        client_address=client.address,
        now=front.now(),
        lifetime=front.config().certificates.lifetime,
    )
    lock = await front.state.locks.get(identity.user)
    if problem := grant_problem(grant, front.now(), lock):
        raise SignInError(problem)
    return grant


async def record_sign_in(front: Front, client: Client, grant: Grant) -> None:
    """Write an accepted sign-in to the audit log."""
    await front.state.audit.record(
        "sign-in.accepted",
        user=grant.user,
        client=str(client),
        method=grant.method,
        groups=list(grant.groups),
        serial=f"{grant.serial:016x}",
        key=grant.key_fingerprint,
        expires_at=grant.valid_before,
    )


async def record_refusal(front: Front, client: Client, error: SignInError) -> None:
    """Write a failed sign-in to the audit log, with the precise reason where the message keeps it back."""
    reason = error.reason if isinstance(error, TokenRejected) else error.message
    await front.state.audit.record("sign-in.refused", client=str(client), reason=reason)
