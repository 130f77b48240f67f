"""Which subject of which issuer a user name belongs to.

An identity is (issuer, subject); the name is only what people call it. The first sign-in pins the name to the
identity, so that a name the provider has given to somebody else does not inherit its former owner's access.
"""

from __future__ import annotations

from collections.abc import Callable

from bastion.errors import SignInError
from bastion.state.database import Database


class Identities:
    """The table of pinned names."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def pin(self, issuer: str, subject: str, user: str) -> None:
        """Pin *user* to the identity at its first sign-in; SignInError when the name belongs to another one."""
        row = await self._database.fetch_one(
            # The update changes nothing; it makes RETURNING give back the row that was there.
            "INSERT INTO identities (user, issuer, subject, pinned_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (user) DO UPDATE SET user = user RETURNING issuer, subject",
            *(user, issuer, subject, self._now()),
        )
        assert row is not None
        if (row["issuer"], row["subject"]) != (issuer, subject):
            raise SignInError(
                f"The name {user} belongs to another account of the identity provider.",
                hint=f"If the name has changed hands for good, an administrator runs: bastion user release {user}",
            )

    async def release(self, user: str) -> bool:
        """Forget whose name this is, so that the next sign-in pins it anew; false when it was not pinned."""
        return bool(await self._database.fetch("DELETE FROM identities WHERE user = ? RETURNING user", user))
