"""How many connections may be here without having signed in, in all and from one source.

They cost memory and a task each and need no credentials, as sshd's MaxStartups and PerSourceMaxStartups know. Where
sshd then refuses newcomers at random, here the source that holds most places gives one up: a crowd of connections that
never sign in keeps nobody out who comes alone.
"""

from __future__ import annotations

from collections.abc import Callable

from bastion.ssh.penalties import FAILED, LEFT, MAX_SOURCES, Penalties, source_of


class Arrival:
    """One connection from its arrival until it has signed in or is gone; *give_way* cuts it off."""

    def __init__(self, arrivals: Arrivals, address: str, give_way: Callable[[], None]) -> None:
        self._arrivals = arrivals
        self.address = address
        self.give_way = give_way

    def signed_in(self) -> None:
        """Somebody signed in: it counts no more."""
        self._arrivals.forget(self)

    def left(self, *, failures: int, silent: bool = False) -> None:
        """It went, or was cut off, and nobody had signed in; *silent*: it never began to."""
        self._arrivals.forget(self)
        self._arrivals.penalties.add(self.address, failures * FAILED or (SILENT if silent else LEFT))


SILENT = 10.0
"""Seconds that a source owes for a connection that was cut off because it said nothing."""


TOLD_EVERY = 60.0
"""Seconds between two lines of the log about one source that is refused."""


class Refusals:
    """Which refusals are worth a line in the log: who is turned away can come back a thousand times a second."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._told: dict[str, tuple[float, int]] = {}  # when, and how many since; in the order of the first

    def is_news(self, address: str) -> int | None:
        """How many refusals of its source were not told since the last that was; None: this one neither."""
        source, now = source_of(address), self._monotonic()
        told, unsaid = self._told.get(source, (now - TOLD_EVERY, 0))
        if now - told < TOLD_EVERY:
            self._told[source] = (told, unsaid + 1)
            return None
        self._told.pop(source, None)
        self._told[source] = (now, 0)
        if len(self._told) > MAX_SOURCES:
            del self._told[next(iter(self._told))]
        return unsaid


class Arrivals:
    """The connections that have not signed in, by source, oldest first."""

    def __init__(self, penalties: Penalties, *, total: int = 200, per_source: int = 50) -> None:
        self.penalties = penalties
        self._total = total
        self._per_source = per_source
        self._sources: dict[str, dict[Arrival, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._sources.values()))

    def admit(self, address: str, give_way: Callable[[], None]) -> Arrival | str:
        """Count one more; or say why not. *give_way* is called when it must make room for somebody else."""
        if left := self.penalties.left(address):
            return f"it failed to sign in too often, and is not served for another {left:.0f} s"
        source = source_of(address)
        here = len(self._sources.get(source, ()))
        if here >= self._per_source or (len(self) >= self._total and not self._make_room(here)):
            return "too many have not signed in yet"
        arrival = Arrival(self, address, give_way)
        self._sources.setdefault(source, {})[arrival] = None
        return arrival

    def forget(self, arrival: Arrival) -> None:
        """Give its place to others; nothing happens if it has none any more."""
        source = source_of(arrival.address)
        if places := self._sources.get(source):
            places.pop(arrival, None)
            if not places:
                del self._sources[source]

    def _make_room(self, here: int) -> bool:
        """Cut off the oldest of the source that has most, unless a newcomer from one with *here* would have as many."""
        most = max(self._sources.values(), key=len)
        if len(most) <= here + 1:
            return False
        oldest = next(iter(most))
        self.forget(oldest)
        oldest.give_way()
        return True
