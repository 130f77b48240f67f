"""What the corridor asks of the end towards a person's client, whatever protocol that client speaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bastion.transport.request import SessionRequest
from recorder.events import Event


class Listener(Protocol):
    """Whom the bastion's own words are for."""

    @property
    def request(self) -> SessionRequest:
        """What the client asked for."""
        ...

    def put(self, events: Sequence[Event]) -> bool:
        """Pass *events* on without waiting, for a few bytes only; false if the client takes nothing any more."""
        ...


class ClientSide(Listener, Protocol):
    """Events of a client in, and out to it."""

    async def receive(self) -> list[Event]:
        """All events since the last call, at least one; an empty list once the client is gone and drained."""
        ...

    async def deliver(self, events: Sequence[Event]) -> None:
        """Pass *events* on, and wait until there is room for more; a client that is gone takes everything."""
        ...

    def abort(self) -> None:
        """Cut the client off."""
        ...
