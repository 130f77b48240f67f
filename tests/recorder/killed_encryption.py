"""Encrypts a recording again and again, and dies by SIGKILL each time one line later; a program of its own.

Usage: killed_encryption.py ORIGIN WORK RECIPIENT, where the folder of recordings ORIGIN is copied to WORK for
each death. Prints what was found after each as a line of JSON: after the death, and after the next start, which
finishes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from bastion.runtime.logs import configure_logs
from recorder.catalog import read_row, recordings
from recorder.inspection import inspect
from recorder.recipients import Recipients
from recorder.seals_check import hold_against, read_chain
from recorder.store import Store
from tests.recorder.casts import KEY
from tests.rig.killing import forked

WATCHED = ("recorder/encryption.py", "recorder/encryption_feed.py")
STEPS = ("_replace", "_write_whole", "_encrypt")
"""The functions that have an order; what they call does one thing."""


async def serve(folder: Path, recipient: str) -> None:
    store = await Store.open(folder, key=KEY, recipients=Recipients.parse([recipient]), min_free_bytes=0)
    await store.recover()
    assert store.encryption is not None
    await store.encryption.wait()
    await store.close()


def forked_server(folder: Path, recipient: str, step: int | None = None) -> int:
    """Run a server in a child, killed at *step*; its exit status, negative for a signal."""
    return forked(lambda: serve(folder, recipient), step, files=WATCHED, functions=STEPS)


def state_of(folder: Path) -> dict[str, object]:
    """What stands in the folder and in the index, and what `verify --all` says."""
    keys = [KEY.verify_key]
    paths = list(recordings(folder))
    findings = hold_against(read_chain(folder, keys), folder, [inspect(path, keys) for path in paths])
    day = paths[0].parent
    with closing(sqlite3.connect(folder / "index.db")) as index:
        indexed = [row[0] for row in index.execute("SELECT path FROM sessions")]
    return {
        "recording": [path.name for path in paths],
        "user": [read_row(folder, path).user for path in paths],
        "files": sorted(path.name for path in day.iterdir()),
        "plain": [hashlib.sha256(path.read_bytes()).hexdigest() for path in day.glob("2*.cast")],
        "bad": [f"{one.name} {one.state}: {one.reason}" for one in findings if not one.is_good],
        "indexed": indexed,
    }


def main() -> None:
    origin, work, recipient = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    configure_logs(level="critical")
    step = 0
    while True:
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(origin, work)
        status = forked_server(work, recipient, step)
        died = state_of(work)
        finished = forked_server(work, recipient)
        (encrypted,) = work.rglob("*.age")
        kept = encrypted.rename(work.parent / f"{step}.cast.age")
        print(json.dumps({"step": step, "status": status, "died": died, "finished": finished,
                          "after": state_of_encrypted(work, kept, encrypted)}))  # fmt: skip
        if status >= 0:
            return
        step += 1


def state_of_encrypted(work: Path, kept: Path, encrypted: Path) -> dict[str, object]:
    """The same, the encrypted file being copied to *kept* for whoever has the identity."""
    shutil.copy(kept, encrypted)
    return state_of(work) | {"kept": str(kept)}


if __name__ == "__main__":
    main()
