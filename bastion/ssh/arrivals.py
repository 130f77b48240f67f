"""How many connections may be here without having signed in, in all and from one address.

They cost memory and a task each and need no credentials, as sshd's MaxStartups and PerSourceMaxStartups know.
"""

from __future__ import annotations

from collections import Counter

from bastion.ssh.penalties import FAILED, LEFT, Penalties


class Arrivals:
    """Counts connections from their arrival until they have signed in or are gone."""

    def __init__(self, penalties: Penalties, *, total: int = 200, per_address: int = 50) -> None:
        self._penalties = penalties
        self._total = total
        self._per_address = per_address
        self._addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._addresses.total()

    def admit(self, address: str) -> str | None:
        """Count one more; or say why not."""
        if left := self._penalties.left(address):
            return f"it failed to sign in too often, and is not served for another {left:.0f} s"
        if len(self) >= self._total or self._addresses[address] >= self._per_address:
            return "too many have not signed in yet"
        self._addresses[address] += 1
        return None

    def leave(self, address: str, *, failures: int | None = None) -> None:
        """Take one back that was admitted; with *failures* it went without having signed in."""
        if failures is not None:
            self._penalties.add(address, failures * FAILED or LEFT)
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
