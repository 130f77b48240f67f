"""The public halves of the certificate authorities' keys, and which of them sign and are trusted.

The private halves are files; `bastion.ca` pairs the two. An authority has exactly one active key at any time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NewType

from bastion.state.database import Database, Row

AuthorityName = Literal["user", "target", "host", "tls"]
AUTHORITY_NAMES: tuple[AuthorityName, ...] = ("user", "target", "host", "tls")
CaKeyId = NewType("CaKeyId", str)
Status = Literal["active", "trusted", "retired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaKey:
    """One key of an authority. *public* is an OpenSSH line without comment; times are in Unix seconds."""

    id: CaKeyId
    authority: AuthorityName
    public: str
    created_at: float
    status: Status
    trusted_until: float | None = None

    def is_trusted(self, now: float) -> bool:
        """Whether it counts at *now*: time alone ends the trust in a key, without anybody retiring it."""
        return self.status == "active" or (
            self.status == "trusted" and self.trusted_until is not None and now < self.trusted_until
        )


class CaKeys:
    """The table of CA keys."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def add_first(self, key: CaKey) -> None:
        """Register the first key of an authority; StateError when it has an active one."""
        await self._database.fetch(_INSERT, *_values(key))

    async def succeed(self, new: CaKey, latest: float) -> CaKey:
        """Make *new* the active key of its authority and return the one before it, trusted for a while yet.

        A user key is trusted until the last certificate it signed has expired, but not after *latest*; a key of
        another authority until *latest*.
        """
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch(
                "UPDATE ca_keys SET status = 'trusted', trusted_until = min(?1, CASE authority WHEN 'user' THEN"
                " (SELECT coalesce(max(valid_before), ?2) FROM grants WHERE ca_key_id = ca_keys.id"
                "  AND revoked_at IS NULL)"
                " ELSE ?1 END) WHERE authority = ?3 AND status = 'active' RETURNING *",
                *(latest, self._now(), new.authority),
            )
            await transaction.fetch(_INSERT, *_values(new))
        return _key(rows[0])

    async def retire_expired(self) -> list[CaKey]:
        """Mark the keys whose trust has run out as retired, and return them."""
        rows = await self._database.fetch(
            "UPDATE ca_keys SET status = 'retired' WHERE status = 'trusted' AND trusted_until <= ? RETURNING *",
            self._now(),
        )
        return [_key(row) for row in rows]

    async def count_live(self) -> dict[CaKeyId, int]:
        """How many certificates under each key are neither expired nor revoked."""
        rows = await self._database.fetch(
            "SELECT ca_key_id, count(*) FROM grants WHERE ca_key_id IS NOT NULL"
            " AND revoked_at IS NULL AND valid_before > ? GROUP BY ca_key_id",
            self._now(),
        )
        return {CaKeyId(row[0]): int(row[1]) for row in rows}

    async def list(self, authority: AuthorityName | None = None) -> list[CaKey]:
        """All keys that ever were, of one authority or of all, newest first."""
        rows = await self._database.fetch(
            "SELECT * FROM ca_keys WHERE ?1 IS NULL OR authority = ?1 ORDER BY created_at DESC, rowid DESC",
            authority,
        )
        return [_key(row) for row in rows]


_INSERT = (
    "INSERT INTO ca_keys (id, authority, public, created_at, status, trusted_until) VALUES (?, ?, ?, ?, ?, ?)"
)


def _values(key: CaKey) -> tuple[str | float | None, ...]:
    return (key.id, key.authority, key.public, key.created_at, key.status, key.trusted_until)


def _key(row: Row) -> CaKey:
    return CaKey(**dict(row))
