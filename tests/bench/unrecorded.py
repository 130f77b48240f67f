"""The bastion with a recorder that keeps no events, for what recording costs. No setting of the bastion does this."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cli.main import main
from recorder.events import Event
from recorder.journal import Recording

COMMAND = (sys.executable, "-m", "tests.bench.unrecorded")
"""What to start instead of `bastion`."""


async def keep_nothing(_: Recording, __: Sequence[Event]) -> None:
    """In the place of `Recording.append`."""


if __name__ == "__main__":
    Recording.append = keep_nothing  # type: ignore[method-assign, assignment]
    sys.exit(main())
