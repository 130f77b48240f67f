"""Takes the pictures of the README from a running bastion: `.venv/bin/python -m tests.docs.picture`. Needs tmux.

What they show is what a terminal showed: tmux is the terminal, rich writes its cells as SVG. Nothing is typed that a
person would not type.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.rig.process import wait_until
from tests.rig.world import USER_CODE, World

DOCS = Path(__file__).parents[2] / "docs"
COLUMNS, ROWS = 88, 11
PORT, ISSUER_PORT = 2222, 9400
THEME = TerminalTheme(
    (24, 27, 33),
    (214, 218, 224),
    [(60, 66, 77), (224, 108, 117), (130, 190, 120), (215, 175, 95), (97, 165, 235), (190, 130, 220),
     (90, 185, 195), (200, 205, 212)],
    [(110, 118, 130), (240, 130, 140), (150, 210, 140), (230, 195, 120), (125, 185, 250), (210, 155, 235),
     (115, 205, 215), (245, 247, 250)],
)  # fmt: skip
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
 font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 16px; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>\
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Screen:
    """A terminal that runs one command."""

    def __init__(self, socket: Path) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]

    def start(self, *command: str, rows: int) -> None:
        self._do(
            "new-session", "-d", "-x", str(COLUMNS), "-y", str(rows), "-e", "TERM=screen-256color",
            "/bin/sh", "-c", 'exec "$@"', "sh", *command,
            ";", "set", "status", "off", ";", "set", "-g", "remain-on-exit", "on",
        )  # fmt: skip

    def type(self, *keys: str) -> None:
        self._do("send-keys", *keys)

    def shows(self, text: str) -> Callable[[], bool]:
        return lambda: text in self.text()

    def text(self) -> str:
        return self._do("capture-pane", "-p")

    def save(self, name: str, title: str) -> None:
        console = Console(record=True, width=COLUMNS, file=tempfile.TemporaryFile("w"))  # noqa: SIM115
        for line in self._do("capture-pane", "-p", "-e").rstrip("\n").splitlines():
            text = Text.from_ansi(line)
            text.pad_right(max(COLUMNS - text.cell_len, 0))
            console.print(text, no_wrap=True, crop=False)
        console.save_svg(str(DOCS / f"{name}.svg"), title=title, theme=THEME, code_format=SVG, unique_id=name)

    def end(self) -> None:
        self._do("kill-server")

    def _do(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True).stdout


@contextmanager
def screen(folder: Path, *command: str, rows: int = ROWS) -> Iterator[Screen]:
    shown = Screen(folder / "tmux")
    shown.start(*command, rows=rows)
    try:
        yield shown
    finally:
        shown.end()


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        World(Path(folder) / "world", port=PORT, issuer_port=ISSUER_PORT) as world,
    ):
        ssh = world.client("alice").command("localhost")
        with screen(Path(folder), *ssh) as shown:
            wait_until(shown.shows("valid for"), "a code")
            shown.save("picture-sign-in", "ssh -p 2222 localhost")
            code = USER_CODE.search(shown.text())
            assert code is not None
            world.approve(code[1], "alice")
            wait_until(shown.shows("Staging web server"), "the picker")
            shown.save("picture-picker", "ssh -p 2222 localhost")
            shown.type("web-1", "Enter")
            wait_until(shown.shows("deploy@web-1"), "the session")
            for command, answer in (("uname -s", "Linux"), ("echo $SSH_CONNECTION", "127.0.0.1")):
                shown.type(command, "Enter")
                wait_until(shown.shows(f"\n{answer}"), answer)
                time.sleep(1.5)  # a person reads; the replay needs a moment in which to press a key
            shown.type("exit", "Enter")
            wait_until(shown.shows("the session has ended"), "the picker again")
        carol = world.certified("carol")
        session = carol.run("localhost", "sessions").text.splitlines()[1].split()[0]
        with screen(Path(folder), *carol.command("-t", "localhost", "play", session), rows=ROWS + 1) as shown:
            wait_until(shown.shows("SSH_CONNECTION\n127"), "the replay")
            shown.type("Space")
            wait_until(shown.shows("paused"), "the pause")
            shown.save("picture-replay", f"ssh -p 2222 -t localhost play {session}")


if __name__ == "__main__":
    main()
