"""Is a certificate that a client presents good enough to be this person? A numbered procedure.

1. It is a user certificate.
2. A user CA that we trust signed it.
3. It names principals: asyncssh would take a certificate without any for everybody's.
4. Its serial is one we issued. A stolen CA key alone logs nobody in.
5. The grant of that serial stands: not expired, not revoked, its user not locked.
6. Its one principal is the grant's user, and its key is the grant's key.
7. The certificate's own dates cover now.

Whether the client holds the key is proven afterwards, by its signature, in asyncssh.
"""

from __future__ import annotations

from dataclasses import dataclass

from bastion.ca.authorities import Authorities
from bastion.identity.person import Person
from bastion.state.grants import Grant, grant_problem
from bastion.state.store import State
from bastion.transport.hooks import CertificateFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The person the certificate speaks for."""

    person: Person


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Why not. *ours* tells a certificate of this bastion from one that just happens to be in an agent.

    With *is_final* signing in anew cannot help either.
    """

    reason: str
    ours: bool
    is_final: bool = False


async def judge(
    certificate: CertificateFacts, state: State, authorities: Authorities, now: float
) -> Accepted | Rejected:
    """Follow the procedure above."""
    if not certificate.is_user:  # (1)
        return Rejected(reason="it is a host certificate", ours=False)
    if not authorities.trusts_user_ca(certificate.authority.public_data):  # (2)
        return Rejected(reason="it was not signed by this bastion", ours=False)
    if not certificate.principals:  # (3)
        return Rejected(reason="it names nobody (empty principals)", ours=True)
    grant = await state.grants.get(certificate.serial)  # (4)
    lock = await state.locks.get(grant.user) if grant is not None else None
    if problem := grant_problem(grant, now, lock):  # (5)
        return Rejected(reason=problem, ours=True, is_final=lock is not None)
    assert grant is not None
    if certificate.principals != (grant.user,):  # (6)
        return Rejected(reason=f"it is for another principal than {grant.user}", ours=True)
    if certificate.key.get_fingerprint() != grant.key_fingerprint:
        return Rejected(reason="it is for another key than the one that signed in", ours=True)
    if not certificate.valid_after <= now < certificate.valid_before:  # (7)
        return Rejected(reason="it is outside its own dates of validity", ours=True)
    return Accepted(person=person_of(grant))


def person_of(grant: Grant) -> Person:
    """The person a grant was given to."""
    return Person(
        user=grant.user,
        issuer=grant.issuer,
        subject=grant.subject,
        groups=grant.groups,
        serial=grant.serial,
        expires_at=grant.valid_before,
        method=grant.method,
        key_fingerprint=grant.key_fingerprint,
        client_address=grant.client_address,
    )
