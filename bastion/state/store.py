"""The state of a bastion: everything it must not forget, behind one object.

Each part is a table with an idea of its own; this module only opens them on one database.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from bastion.state.audit import Audit
from bastion.state.ca_keys import CaKeys
from bastion.state.database import Database
from bastion.state.grants import Grants
from bastion.state.holds import Holds
from bastion.state.identities import Identities
from bastion.state.kubeconfigs import KubeconfigTokens
from bastion.state.locks import Locks
from bastion.state.schema import STEPS
from bastion.state.stops import Stops
from bastion.state.tokens import Tokens


class State:
    """The open state: `async with await State.open(path) as state`. Until it is closed the process cannot end."""

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self.audit = Audit(database, now)
        self.ca_keys = CaKeys(database, now)
        self.grants = Grants(database, now)
        self.holds = Holds(database, now)
        self.identities = Identities(database, now)
        self.kubeconfigs = KubeconfigTokens(database, now)
        self.locks = Locks(database, now)
        self.stops = Stops(database, now)
        self.tokens = Tokens(database, now)

    @classmethod
    async def open(cls, path: Path, now: Callable[[], float] = time.time, *, create: bool = True) -> State:
        """Open the database at *path*, made if *create*; StateError or KeyFileError when that cannot be."""
        return cls(await Database.open(path, STEPS, create=create), now)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._database.close()

    async def copy_to(self, path: Path) -> None:
        """Write the state as it is now to the new file *path*; whoever works with it meanwhile is not disturbed."""
        await self._database.copy_to(path)

    async def changed(self) -> bool:
        """Whether another process (a command of the operator's) changed anything since this was last asked.

        Costs one pragma. What this very State wrote does not count.
        """
        return await self._database.changed()
