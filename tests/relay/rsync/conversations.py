"""Conversations of two real rsyncs, and what the reader tells of them."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bastion.relay.rsync.manifest import RsyncManifest
from bastion.sessions.words import words_of
from recorder.events import FileHandled

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said after *command*: who, and the bytes."""

    command: str
    said: tuple[tuple[str, bytes], ...]
    status: int = 0

    @classmethod
    def of(cls, lines: Iterable[str], status: int = 0) -> Conversation:
        command, *said = map(json.loads, lines)
        return cls(command, tuple((side, base64.b64decode(data)) for side, data in said), status)

    def manifest(self) -> RsyncManifest:
        return RsyncManifest(words_of(self.command)[1:])

    def told(self) -> list[FileHandled]:
        """All that is told of it, to its end. Raises Unreadable."""
        manifest = self.manifest()
        return [*read(manifest, self.said), *manifest.end()]

    def bytes_of(self, side: str) -> bytes:
        return b"".join(data for speaker, data in self.said if speaker == side)


def read(manifest: RsyncManifest, said: Iterable[tuple[str, bytes]]) -> list[FileHandled]:
    """What is told while this is said. Raises Unreadable."""
    told: list[FileHandled] = []
    for side, data in said:
        told += manifest.asked(data) if side == "client" else manifest.answered(data)
    return told


def converse(rsync: str, log: Path, *words: str | Path, limit: int | None = None) -> Conversation:
    """Run rsync with *words*, where `host:` is this machine; with a *limit* the line breaks after so many bytes."""
    end = "" if limit is None else f"@{limit}"
    shell = shlex.join([sys.executable, "-m", "tests.rig.rsync_shell", f"{log}{end}"])
    done = subprocess.run(
        [rsync, "-e", shell, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    if limit is None:
        assert done.returncode in (0, 23), done.stderr
    return Conversation.of(log.read_text().splitlines(), done.returncode)
