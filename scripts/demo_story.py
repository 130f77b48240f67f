"""How the story of `scripts/demo --check` is told: step by step, each with what was seen, until one fails.

Knows how to run and to report steps; what they do is in demo_steps.py.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect

from tests.rig.openssh import Client
from tests.rig.process import RigError
from tests.rig.world import World


class UnseenError(Exception):
    """A step did not see what it must."""


def must(condition: object, otherwise: str) -> None:
    """UnseenError with the words *otherwise*, unless *condition*."""
    if not condition:
        raise UnseenError(otherwise)


@dataclass
class Story:
    """What the steps share: the world, who they are, and what the earlier ones left for the later."""

    world: World
    sessions: list[dict[str, Any]] = field(default_factory=list)
    terminals: list[pexpect.spawn[str]] = field(default_factory=list)

    @property
    def alice(self) -> Client:
        """Her ssh, with a certificate."""
        return self.world.certified("alice")

    @property
    def recording(self) -> dict[str, Any]:
        """The first session in a terminal, as `bastion sessions --json` lists it: the one from the picker."""
        return min(
            (row for row in self.sessions if row["action"] == "shell"), key=lambda row: row["started_at"]
        )

    def keep(self, terminal: pexpect.spawn[str]) -> pexpect.spawn[str]:
        """Close *terminal* at the end of the story at the latest."""
        self.terminals.append(terminal)
        return terminal


Step = Callable[[Story], str]
"""Does what a person would and returns what was seen. Raises UnseenError, or what the rig and pexpect raise."""


def tell(world: World, steps: Sequence[tuple[str, Step]]) -> bool:
    """Tell the story in *world*, which is started and stopped here; false when it does not go as it must."""
    started = time.monotonic()
    print(f"Telling the story of the demo in {len(steps)} steps.", flush=True)
    story = Story(world)
    try:
        with world:
            for number, (title, step) in enumerate(steps, start=1):
                print(f"{number:>3}. {title}", flush=True)
                print(f"     {step(story)}", flush=True)
    except (UnseenError, RigError, pexpect.ExceptionPexpect, subprocess.SubprocessError, OSError) as error:
        print(
            f"     FAILED: {_words(error, story)}\n\nThe bastion's log ends with:\n{_tail(world.bastion.log_file)}"
        )
        return False
    finally:
        for terminal in story.terminals:
            terminal.close(force=True)
    print(f"All {len(steps)} steps went as they must, in {time.monotonic() - started:.0f} s.")
    return True


def _words(error: Exception, story: Story) -> str:
    if not isinstance(error, pexpect.ExceptionPexpect):
        return str(error)
    sought = str(error).rpartition("searcher: ")[2].partition("\n")[2].strip()
    what = "the terminal was closed" if isinstance(error, pexpect.EOF) else "waited in vain"
    return f"{what}; looked for {sought}; the terminal showed {str(story.terminals[-1].before)[-1000:]!r}"


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(nothing)"
