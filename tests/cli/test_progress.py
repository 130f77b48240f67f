"""The bar for what takes a while: on a terminal alone, and on stderr."""

from __future__ import annotations

import sys
from pathlib import Path

import pexpect
import pytest

from cli.progress import progress_bar

SCRIPT = """
import sys
from cli.progress import progress_bar
with progress_bar("Verifying", 4_000_000, counts=False) as tell:
    tell(1_000_000, None)
    tell(2_000_000, 8_000_000)
print("done")
"""


def test_without_a_terminal_nothing_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Verifying", 10) as tell:
        tell(5, None)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_it_is_drawn_and_taken_away(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    child = pexpect.spawn(
        sys.executable, [str(script)], env={"TERM": "xterm", "PYTHONPATH": ".", "COLUMNS": "100"}, timeout=30
    )
    child.expect("Verifying")
    child.expect("2.0/8.0 MB")
    child.expect("done")
    assert isinstance(child.before, bytes) and b"\x1b[2K" in child.before
    child.wait()


def test_quiet_is_quiet_on_a_terminal_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_bar("Verifying", 10, is_quiet=True) as tell:
        tell(5, None)
    assert capsys.readouterr() == ("", "")
