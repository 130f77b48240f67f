"""From the claims of a verified ID token to a user of the bastion and their groups.

A name that does not fit is refused and never bent into shape: two people must not meet in one name. That a name stays
with the subject who first came with it is the state's business (`state.identities.pin`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bastion.config.model import Issuer
from bastion.config.targets import BUILTIN_WORDS
from bastion.errors import SignInError
from bastion.identity.verifier import VerifiedToken

_USER = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,62}")
_RESERVED = BUILTIN_WORDS | {"root"}
_MACHINES = "ci-"
"""Names that begin so are kept for machines, which sign in by other rules."""

_MOST_GROUPS = 2000
_LONGEST_GROUP = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a provider says has signed in. Times are Unix seconds; *token_digest* names the token it was read from."""

    user: str
    issuer: str
    issuer_alias: str
    subject: str
    groups: tuple[str, ...]
    issued_at: float
    expires_at: float
    token_digest: str


def identity_from_token(token: VerifiedToken, settings: Issuer) -> Identity:
    """Read who signed in; raise SignInError when the claims give no usable name or groups."""
    return Identity(
        user=_user(token.claims, settings.user_claim),
        issuer=token.issuer,
        issuer_alias=settings.alias,
        subject=token.subject,
        groups=_groups(token.claims, settings.groups_claim),
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        token_digest=token.digest,
    )


def _user(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not value:
        raise _refusal(f"the provider did not say who you are (claim {claim})")
    if claim == "email" and claims.get("email_verified") is not True:
        raise _refusal("the provider has not verified your e-mail address")
    user = value.lower()
    # ASCII before lower(): a Kelvin sign becomes a plain k.
    if not value.isascii() or not _USER.fullmatch(user):
        raise _refusal(
            f"the provider calls you {value[:64]!a}, which cannot be a user name here"
            " (letters, digits and . _ @ + -, beginning with a letter or digit, at most 63)"
        )
    if user in _RESERVED or user.startswith(_MACHINES):
        raise _refusal(f"the user name {user} is reserved")
    return user


def _groups(claims: Mapping[str, Any], claim: str) -> tuple[str, ...]:
    # Entra leaves the groups out when there are too many, and says where to ask for them. Deny rules name groups,
    # so signing in without them would be signing in with too many rights.
    elsewhere = claims.get("_claim_names")
    if (isinstance(elsewhere, dict) and claim in elsewhere) or claims.get("hasgroups") is True:
        raise _refusal(
            "you are in too many groups for the provider to list them",
            "Let the provider send only the groups that are assigned to the bastion.",
        )
    value = claims.get(claim, [])
    if not isinstance(value, list) or not all(isinstance(group, str) for group in value):
        raise _refusal(f"the provider did not send your groups as a list of names (claim {claim})")
    if len(value) > _MOST_GROUPS:
        raise _refusal(f"you are in {len(value)} groups, more than {_MOST_GROUPS}")
    for group in value:
        if not 1 <= len(group) <= _LONGEST_GROUP or not group.isprintable():
            raise _refusal(f"the group name {group[:64]!a} cannot be used")
    return tuple(dict.fromkeys(value))


def _refusal(
    message: str, hint: str = "Ask whoever runs the bastion or the provider to mend it."
) -> SignInError:
    return SignInError(f"sign-in refused: {message}", hint=hint)
