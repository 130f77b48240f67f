"""Grants: one sign-in each, and what has become of it.

A certificate carries the serial of its grant, so whoever shows a certificate whose serial is not in this table is
refused, even when a stolen CA key signed it. Groups and validity are looked up here whenever a channel opens. What
a certificate looks like is the business of `bastion.ca`.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bastion.errors import SignInError, StateError
from bastion.state.database import Database, Row
from bastion.state.locks import Lock

LONGEST_LIFETIME = timedelta(hours=12)
BACKDATED = timedelta(seconds=60)
"""How far the beginning of validity lies in the past: neither asyncssh nor sshd forgives a clock that is behind."""

_KEY_ID = re.compile(r"[A-Za-z0-9._@+:/-]{1,128}")  # it is printed in the logs of targets, unescaped


class RotatedKeyError(StateError):
    """The CA key a grant names signs no longer: take the present one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One sign-in. Times are in Unix seconds; *issuer* is the issuer's URL, *key_id* the one of the certificate."""

    serial: int
    user: str
    issuer: str
    subject: str
    groups: tuple[str, ...]
    method: str
    key_id: str
    client_address: str
    issued_at: float
    valid_after: int
    valid_before: int
    key_fingerprint: str | None = None
    ca_key_id: str | None = None
    revoked_at: float | None = None
    revoked_by: str | None = None
    revoked_reason: str | None = None


def new_grant(
    *,
    user: str,
    issuer: str,
    issuer_alias: str,
    subject: str,
    groups: Sequence[str],
    method: str,
    client_address: str,
    now: float,
    lifetime: timedelta,
    random_bits: Callable[[int], int] = secrets.randbits,
) -> Grant:
    """A grant as it is about to be given: with its serial, its key id, and *lifetime* cut to 12 hours."""
    serial = random_bits(63)  # what fits into SQLite's signed integers, and cannot be guessed
    return Grant(
        serial=serial,
        user=user,
        issuer=issuer,
        subject=subject,
        groups=tuple(groups),
        method=method,
        key_id=key_id(user, serial, issuer_alias),
        client_address=client_address,
        issued_at=now,
        valid_after=int(now - BACKDATED.total_seconds()),
        valid_before=int(now + min(lifetime, LONGEST_LIFETIME).total_seconds()),
    )


def key_id(user: str, serial: int, issuer_alias: str) -> str:
    """The key id by which every log, also a target's, names a person and their sign-in."""
    text = f"u:{user}/s:{serial:x}/i:{issuer_alias}"
    if not _KEY_ID.fullmatch(text):
        raise SignInError(
            f"The user name {user!r} cannot stand in a certificate.",
            hint="Names may have letters, digits and . _ @ + : / - and about 90 characters;"
            " ask the administrator to take another claim (user_claim) for the name.",
        )
    return text


def grant_problem(grant: Grant | None, now: float, lock: Lock | None = None) -> str | None:
    """Why this grant lets nobody in at *now*, in words for the person; None when it does."""
    if grant is None:
        return "This bastion knows no sign-in with this serial. Sign in again."
    if lock is not None and lock.is_active(now):
        end = f" until {_moment(lock.until)}" if lock.until is not None else ""
        return f"The account {grant.user} is locked{end}: {lock.reason}"
    if grant.revoked_at is not None:
        return f"This sign-in was revoked at {_moment(grant.revoked_at)}: {grant.revoked_reason}"
    if now >= grant.valid_before:
        return f"This sign-in expired at {_moment(grant.valid_before)}. Sign in again."
    if now < grant.valid_after:
        return (
            f"This sign-in is not valid before {_moment(grant.valid_after)}. Check the clock of the bastion."
        )
    return None


class Grants:
    """The table of grants."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def insert(self, grant: Grant) -> None:
        """Store *grant*; StateError when the serial is taken, RotatedKeyError when its CA key signs no longer.

        Key and grant are compared in the same statement, so that no certificate can come into being under a key
        after `ca rotate`, in another process, has worked out until when the old one must be trusted.
        """
        row = await self._database.fetch_one(
            "INSERT INTO grants (serial, user, issuer, subject, groups, method, key_id, key_fingerprint,"
            " client_address, issued_at, valid_after, valid_before, ca_key_id,"
            " revoked_at, revoked_by, revoked_reason)"
            " SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
            " WHERE ?13 IS NULL OR EXISTS (SELECT 1 FROM ca_keys WHERE id = ?13 AND status = 'active')"
            " RETURNING serial",
            *(grant.serial, grant.user, grant.issuer, grant.subject, json.dumps(grant.groups), grant.method),
            *(grant.key_id, grant.key_fingerprint, grant.client_address, grant.issued_at),
            *(grant.valid_after, grant.valid_before, grant.ca_key_id),
            *(grant.revoked_at, grant.revoked_by, grant.revoked_reason),
        )
        if row is None:
            raise RotatedKeyError(f"The CA key {grant.ca_key_id} does not sign any more.")

    async def get(self, serial: int) -> Grant | None:
        """The grant of that serial, revoked and expired ones too; None for one we never gave."""
        if not 0 <= serial < 1 << 63:  # a certificate's serial has 64 bits; ours never use the highest
            return None
        row = await self._database.fetch_one("SELECT * FROM grants WHERE serial = ?", serial)
        return _grant(row) if row is not None else None

    async def revoke(self, serial: int, *, by: str, reason: str) -> Grant | None:
        """Revoke one grant and return it; None for an unknown serial. A first revocation stays as it is."""
        await self._database.fetch(
            "UPDATE grants SET revoked_at = ?, revoked_by = ?, revoked_reason = ?"
            " WHERE serial = ? AND revoked_at IS NULL",
            *(self._now(), by, reason, serial),
        )
        return await self.get(serial)

    async def revoke_user(self, user: str, *, by: str, reason: str) -> list[Grant]:
        """Revoke every live grant of *user* and return them. They may sign in again, unless locked."""
        now = self._now()
        rows = await self._database.fetch(
            "UPDATE grants SET revoked_at = ?, revoked_by = ?, revoked_reason = ?"
            " WHERE user = ? AND revoked_at IS NULL AND valid_before > ? RETURNING *",
            *(now, by, reason, user, now),
        )
        return [_grant(row) for row in rows]

    async def list(self, *, user: str | None = None, live_only: bool = True) -> list[Grant]:
        """Grants, newest first; with *live_only* those that are neither expired nor revoked."""
        rows = await self._database.fetch(
            "SELECT * FROM grants WHERE (?1 IS NULL OR user = ?1)"
            " AND (NOT ?2 OR (revoked_at IS NULL AND valid_before > ?3)) ORDER BY issued_at DESC, serial",
            *(user, live_only, self._now()),
        )
        return [_grant(row) for row in rows]


def _grant(row: Row) -> Grant:
    fields = dict(row)
    return Grant(**{**fields, "groups": tuple(json.loads(fields["groups"]))})


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
