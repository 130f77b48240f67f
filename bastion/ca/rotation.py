"""Replacing the key of an authority without locking anybody out, and knowing until when the old one counts.

The new key signs from the moment of the rotation. How long the old one is trusted differs:

- user: until the last certificate it signed has expired. The bastion alone checks them, and it knows them all.
- target: for an overlap in which the new TrustedUserCAKeys line is put on every target. Onward sessions carry a
  certificate under each key, so that a target which knows only one of them goes on working.
- tls: for an overlap in which the new certificate is given to clients. Those that know only the old one trust a
  certificate under the new key meanwhile, because the old one vouches for that.
- host: until shortly before the bastion's host certificate under it expires. Up to then that one is presented, while
  the new @cert-authority line goes into everybody's known_hosts.

An overlap that is given bounds all of them; zero ends the trust at once, which is what to do about a stolen key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bastion.ca.host import last_use_of_host_certificate
from bastion.ca.keys import generate, private_path, public_path, remove_private
from bastion.ca.tls import certificate_path
from bastion.errors import StateError
from bastion.state.ca_keys import AuthorityName, CaKey
from bastion.state.grants import LONGEST_LIFETIME
from bastion.state.store import State

INSTALLING = timedelta(days=30)
"""How long the old key of an authority counts that others must be told of, unless somebody says otherwise."""

_SIGN_ON: tuple[AuthorityName, ...] = ("target", "tls")
"""Authorities whose old key goes on signing during the overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What came of a rotation: the key that signs now, and the one before it with the end of its trust."""

    new: CaKey
    old: CaKey


async def rotate(
    authority: AuthorityName,
    folder: Path,
    state: State,
    now: Callable[[], float],
    *,
    by: str,
    overlap: timedelta | None = None,
) -> Rotation:
    """Make a new key for *authority* and let the old one run out; StateError when there is none to replace.

    Needs no private key that is there already, so it also mends a lost one.
    """
    if not any(key.status == "active" for key in await state.ca_keys.list(authority)):
        raise StateError(f"There is no {authority} CA key to replace.", hint="Run `bastion init` first.")
    latest = _latest_trust(authority, folder, now(), overlap)
    new = generate(folder, authority, now())
    try:
        old = await state.ca_keys.succeed(new, latest)
    except StateError:  # not when cancelled: then it may have been registered all the same
        private_path(folder, new).unlink()
        public_path(private_path(folder, new)).unlink()
        certificate_path(private_path(folder, new)).unlink(missing_ok=True)
        raise
    await state.audit.record(
        "ca.rotated", user=by, authority=authority, new=new.id, old=old.id, trusted_until=old.trusted_until
    )
    if authority not in _SIGN_ON:
        remove_private(folder, old)
    await retire_expired(folder, state)
    return Rotation(new=new, old=old)


async def retire_expired(folder: Path, state: State) -> None:
    """Retire the keys whose trust has run out, and delete all of them but the record."""
    for key in await state.ca_keys.retire_expired():
        remove_private(folder, key)
        await state.audit.record("ca.retired", authority=key.authority, ca_key=key.id)


def _latest_trust(authority: AuthorityName, folder: Path, now: float, overlap: timedelta | None) -> float:
    """When trust in the old key ends at the latest; for user keys the state may know an earlier moment."""
    if authority in _SIGN_ON:
        return now + (INSTALLING if overlap is None else overlap).total_seconds()
    natural = (
        last_use_of_host_certificate(folder, now)
        if authority == "host"
        else now + LONGEST_LIFETIME.total_seconds()
    )
    return natural if overlap is None else min(natural, now + overlap.total_seconds())
