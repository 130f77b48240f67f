"""The program that a `Feed` starts for a long recording: enters it into the index of its text, or that of key points.

    python -m recorder.look_through search|seek FOLDER ID RECORDING

It yields to everything else on the machine, and ends when its standard input does: never later than who started it.
What it has to say to a log it writes to its standard output, a JSON object a line.
"""

from __future__ import annotations

import os
import select
import sqlite3
import sys
from pathlib import Path

import structlog

from recorder.errors import RecorderError
from recorder.names import SessionId
from recorder.search_feed import enter_recording
from recorder.search_lines import Stopped
from recorder.seek_feed import enter_points

log = structlog.get_logger()

NICE = 19
FAILED = 1


def main(step: str, folder: str, session_id: str, path: str) -> int:
    """Enter the recording; returns the exit status."""
    os.nice(NICE)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        cache_logger_on_first_use=True,
    )
    enter = {"search": enter_recording, "seek": enter_points}[step]
    try:
        enter(Path(folder), SessionId(session_id), Path(path), _is_unwanted)
    except (FileNotFoundError, Stopped):  # removed, or encrypted, before its turn came
        return 0
    except (sqlite3.Error, OSError, RecorderError) as error:
        log.error(f"{step}.behind", session=session_id, error=str(error))
        return FAILED
    return 0


def _is_unwanted() -> bool:
    """Whether who started this is gone, or wants no more of it."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
