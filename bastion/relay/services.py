"""What of the bastion's services those need who serve people's own clients inside a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bastion.ca.authorities import Authorities
from bastion.config.model import Config
from bastion.connectors.connect import Connectors
from bastion.sessions.admission import Admission
from bastion.sessions.standing import Standing
from bastion.state.store import State


class Services(Protocol):
    """The services; *config* is asked anew each time, for a reload may change it."""

    @property
    def config(self) -> Callable[[], Config]: ...
    @property
    def state(self) -> State: ...
    @property
    def authorities(self) -> Authorities: ...
    @property
    def connectors(self) -> Connectors: ...
    @property
    def admission(self) -> Admission: ...
    @property
    def standing(self) -> Standing: ...
