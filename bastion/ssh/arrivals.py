"""How many connections may be here without having signed in, in all and from one address.

They cost memory and a task each and need no credentials, as sshd's MaxStartups and PerSourceMaxStartups know.
"""

from __future__ import annotations

from collections import Counter


class Arrivals:
    """Counts connections from their arrival until they have signed in or are gone."""

    def __init__(self, *, total: int = 200, per_address: int = 50) -> None:
        self._total = total
        self._per_address = per_address
        self._addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._addresses.total()

    def admit(self, address: str) -> bool:
        """Count one more, or return false where that would be too many."""
        if len(self) >= self._total or self._addresses[address] >= self._per_address:
            return False
        self._addresses[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Take one back that was admitted."""
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
