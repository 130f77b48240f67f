"""Removes a recording again and again, and dies by SIGKILL each time one line later; a program of its own.

Usage: killed_removal.py CONFIG WORK STRIDE, where CONFIG's data is copied to WORK for each death. Prints what was found
after each as a line of JSON: after the death, and after the next run, which finishes.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from bastion.config.load import load
from bastion.config.model import Config
from bastion.ops.retention import apply, survey
from bastion.runtime.logs import configure_logs
from bastion.state.store import State
from recorder.catalog import recordings
from recorder.index import Index
from recorder.inspection import inspect
from recorder.keys import published_keys
from recorder.seals_check import hold_against, read_chain
from tests.rig.killing import forked

WATCHED = ("recorder/removal.py", "recorder/seals.py", "bastion/ops/retention.py", "bastion/state/audit.py",
           "bastion/state/holds.py", "recorder/index.py", "recorder/search_index.py")  # fmt: skip


async def remove(config: Config) -> int:
    async with await State.open(config.state_file, create=False) as state:
        index = await Index.open(config.recordings_folder)
        try:
            found = await survey(config, state, time.time())
            return len([one async for one in apply(config, state, index, found, by="test", now=time.time)])
        finally:
            await index.close()


def forked_removal(config: Config, step: int | None = None) -> int:
    """Run a removal in a child, killed at *step*; its exit status, negative for a signal."""
    return forked(lambda: remove(config), step, files=WATCHED)


def state_of(config: Config) -> dict[str, object]:
    """What stands in the folder and the indexes, and what `verify --all` says."""
    folder = config.recordings_folder
    keys = published_keys(config.recorder_key_file)
    paths = list(recordings(folder))
    findings = hold_against(read_chain(folder, keys), folder, [inspect(path, keys) for path in paths])
    with closing(sqlite3.connect(folder / "index.db")) as index:
        rows = [row[0] for row in index.execute("SELECT id FROM sessions ORDER BY id")]
    with closing(sqlite3.connect(folder / "search.db")) as search:
        texts = [row[0] for row in search.execute("SELECT id FROM sessions ORDER BY id")]
    return {
        "files": [path.stem for path in paths],
        "bad": [f"{one.name} {one.state}: {one.reason}" for one in findings if not one.is_good],
        "removed": [one.name for one in findings if one.state == "removed"],
        "indexed": rows,
        "texts": texts,
    }


def main() -> None:
    origin, work, stride = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    configure_logs(level="critical")
    step = 0
    while True:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(origin, work)
        config = load(work / "bastion.toml")
        status = forked_removal(config, step)
        died = state_of(config)
        finished = forked_removal(config)
        print(json.dumps({"step": step, "status": status, "died": died, "finished": finished,
                          "after": state_of(config)}))  # fmt: skip
        if status >= 0:
            return
        step += stride


if __name__ == "__main__":
    main()
