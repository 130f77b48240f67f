"""How many sign-ins may wait for their person at a time.

Each of them costs a connection here and polls at the provider, and every code that is out is one that can be sent to
somebody (see `device`). Pure counting: no clock, no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from bastion.errors import SignInError


class PendingLogins:
    """Counts sign-ins that wait, by key, by address and in all."""

    def __init__(self, *, per_key: int = 1, per_address: int = 3, total: int = 20) -> None:
        self._per_key = per_key
        self._per_address = per_address
        self._total = total
        self._keys: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._addresses.total()

    @contextmanager
    def waiting(self, *, address: str, key: str | None = None) -> Iterator[None]:
        """Count one sign-in while the block runs; raise SignInError when that would be one too many.

        *key* is whatever marks one person's attempts before anybody knows who they are: the fingerprint of their
        key. The SSH user name will not do, for anybody may type anybody's.
        """
        if len(self) >= self._total:
            raise _too_many("too many people are signing in at the moment")
        if self._addresses[address] >= self._per_address:
            raise _too_many("too many sign-ins are waiting from your address")
        if key is not None and self._keys[key] >= self._per_key:
            raise _too_many("a sign-in with this key is waiting already")
        self._addresses[address] += 1
        if key is not None:
            self._keys[key] += 1
        try:
            yield
        finally:
            _take(self._addresses, address)
            if key is not None:
                _take(self._keys, key)


def _take(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]  # nobody's address is kept


def _too_many(message: str) -> SignInError:
    return SignInError(message, hint="Finish or end the one that waits, or try again in a few minutes.")
