"""Where psql is on this machine, and whether there is a box to run it in: without one it is not run."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import structlog

from bastion.config.targets import PostgresTarget, Target
from bastion.connectors.box import what_is_missing
from bastion.errors import TargetError

log = structlog.get_logger()

VERSIONS = Path("/usr/lib/postgresql")
"""Where Debian keeps the programs of each version; its `psql` elsewhere is a script that chooses among them."""


def psql_problem() -> str:
    """What keeps this machine from running psql for people, as words for ops; empty if nothing does."""
    if _newest() is None:
        return "psql is not installed: apt-get install postgresql-client"
    return what_is_missing()


def warn_without_psql(targets: Iterable[Target]) -> None:
    """Tell the log what is missing, where there are targets that need it. Blocking."""
    if any(isinstance(target, PostgresTarget) for target in targets) and (problem := psql_problem()):
        log.warning("psql.no-box", reason=problem)


def boxable_psql() -> Path:
    """psql, where there is a box to run it in. Raises TargetError. Blocking, the first time."""
    program, problem = _newest(), psql_problem()
    if program is None or problem:
        log.error("psql.no-box", reason=problem)
        raise TargetError(
            "the bastion cannot run psql for you: it has no box to run it in, and does not run it without",
            hint="Tell the people who run this bastion. A client of your own works meanwhile, by ssh -L.",
        )
    return program


def _newest() -> Path | None:
    found = [path for path in VERSIONS.glob("*/bin/psql") if path.parts[-3].isdigit()]
    if found:
        return max(found, key=lambda path: int(path.parts[-3]))
    elsewhere = shutil.which("psql")
    return Path(elsewhere) if elsewhere is not None else None
