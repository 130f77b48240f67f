"""What all connections share: the services behind the SSH front, gathered once by `app`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bastion.ca.authorities import Authorities
from bastion.config.model import Config
from bastion.connectors.connect import Connectors
from bastion.identity.oidc import Provider
from bastion.identity.pending import PendingLogins
from bastion.runtime.supervise import Supervisor
from bastion.sessions.admission import Admission
from bastion.sessions.standing import Standing, end_withdrawn_sessions
from bastion.ssh.arrivals import Arrivals, Refusals
from bastion.state.store import State
from recorder.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The services of one bastion. *config* and *provider* are asked anew each time: a reload may change them."""

    config: Callable[[], Config]
    provider: Callable[[], Provider]
    state: State
    authorities: Authorities
    connectors: Connectors
    admission: Admission
    standing: Standing
    store: Store
    arrivals: Arrivals
    refusals: Refusals
    pending_logins: PendingLogins
    supervisor: Supervisor
    now: Callable[[], float]

    async def end_withdrawn_sessions(self) -> None:
        """End the live sessions of people who were revoked or locked."""
        await end_withdrawn_sessions(self.standing, self.admission.live)
