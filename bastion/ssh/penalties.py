"""Sources that fail to sign in again and again are turned away for a while, as sshd's PerSourcePenalties does.

Each failure adds seconds to what its source owes, and they pass by themselves; who owes more than a little is not
served. So a typo costs nothing, and guessing becomes slow. IPv6 sources are networks of 64 bits: what one customer has.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache

LEFT = 1.0
"""Seconds for a connection that ended before anybody had signed in."""
FAILED = 5.0
"""Seconds for each signature or answer that was wrong."""
LEAST = 15.0
"""What a source may owe and still be served."""
MOST = 600.0
MAX_SOURCES = 65536

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Penalties:
    """What sources owe. *exempt* are networks that never owe anything; *monotonic* gives seconds."""

    def __init__(self, *, exempt: Callable[[], Sequence[str]], monotonic: Callable[[], float]) -> None:
        self._exempt = exempt
        self._monotonic = monotonic
        self._until: dict[str, float] = {}  # in the order of their last failure

    def add(self, address: str, seconds: float) -> None:
        """Let the source that *address* belongs to owe *seconds* more."""
        if self._is_exempt(address):
            return
        now, source = self._monotonic(), source_of(address)
        owed = max(0.0, self._until.pop(source, now) - now)
        self._until[source] = now + min(owed + seconds, MOST)
        if len(self._until) > MAX_SOURCES:
            del self._until[next(iter(self._until))]

    def left(self, address: str) -> float:
        """The seconds until the source of *address* is served again; 0 if it is served now."""
        source = source_of(address)
        owed = self._until.get(source, 0.0) - self._monotonic()
        if owed <= 0:
            self._until.pop(source, None)
        return max(0.0, owed - LEAST)

    def _is_exempt(self, address: str) -> bool:
        there = ipaddress.ip_address(address)
        return any(there in network for network in _networks(tuple(self._exempt())))


@lru_cache(maxsize=1)
def _networks(exempt: tuple[str, ...]) -> list[Network]:
    return [ipaddress.ip_network(network) for network in exempt]


def source_of(address: str) -> str:
    """What counts as one source: an address, or the network of 64 bits around an IPv6 one."""
    there = ipaddress.ip_address(address)
    if there.version == 4:
        return str(there)
    return str(there.ipv4_mapped or ipaddress.ip_network((there, 64), strict=False))
