"""Who someone is, once they have proved it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person as every layer above identity knows them.

    *serial* names their grant in the state (one sign-in; a certificate carries the same number), by which expiry,
    revocation and groups are looked up again whenever a channel opens. *expires_at* is in Unix seconds.
    """

    user: str
    issuer: str
    subject: str
    groups: tuple[str, ...]
    serial: int
    expires_at: float
    method: str
    key_fingerprint: str | None = None
    client_address: str = ""
