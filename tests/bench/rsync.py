"""What reading rsync's protocol costs: its reader alone, and rsync through the bastion beside rsync over plain ssh.

    .venv/bin/python -m tests.bench.rsync

The reader's figures are processor time, and MB of files (not of the wire). Through the bastion all share this machine.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

from bastion.relay.files import Manifest
from recorder.events import Input, Output
from tests.relay.rsync.conversations import Conversation, converse
from tests.rig.openssh import Client
from tests.rig.world import World

RSYNC = "rsync"
SMALL_FILES = 10_000


def make(folder: Path) -> dict[str, Path]:
    """Trees to copy: noise, a log, zeros, and many small files."""
    trees = {name: folder / name for name in ("noise", "log", "zeros", "small")}
    for tree in trees.values():
        tree.mkdir()
    (trees["noise"] / "f").write_bytes(os.urandom(1_000_000) * 100)
    lines = (b"2026-11-24 12:00:00 request %d took %d ms\n" % (n, n * 7919 % 997) for n in range(2_500_000))
    (trees["log"] / "f").write_bytes(b"".join(lines))
    (trees["zeros"] / "f").write_bytes(bytes(100_000_000))
    for number in range(SMALL_FILES):
        place = trees["small"] / f"d{number // 100}"
        place.mkdir(exist_ok=True)
        (place / f"f{number}").write_bytes(b"x" * 200)
    return trees


def read(conversation: Conversation) -> float:
    """Seconds of the processor to tell of it."""
    manifest = Manifest(conversation.manifest(), keep_contents=False)
    began = time.process_time()
    for side, data in conversation.said:
        _ = manifest.upward([Input(data)]) if side == "client" else manifest.downward([Output(data)])
    return time.process_time() - began


def report_reader(trees: dict[str, Path], folder: Path) -> None:
    for name, options in (
        ("noise", "-a"),
        ("log", "-az --compress-choice=zstd"),
        ("log", "-az --compress-choice=zlib"),
        ("log", "-az --compress-choice=lz4"),
        ("zeros", "-az --compress-choice=zstd"),
        ("small", "-a"),
    ):
        words = [*options.split(), f"{trees[name]}/", f"host:{folder}/to/"]
        subprocess.run(["rm", "-rf", folder / "to"], check=True)
        said = converse(RSYNC, folder / "conversation", *words)
        seconds = read(said)
        size = sum(file.stat().st_size for file in trees[name].rglob("*") if file.is_file()) / 1e6
        wire = sum(len(data) for _, data in said.said) / 1e6
        each = (
            f"{seconds / SMALL_FILES * 1e6:.0f} µs a file"
            if name == "small"
            else f"{size / seconds:.0f} MB/s"
        )
        print(
            f"reader  {name:6} {options:30} {size:6.1f} MB as {wire:6.1f} MB: {seconds:5.2f} s, {each}",
            flush=True,
        )


def report_relay(name: str, client: Client, where: str, trees: dict[str, Path], folder: Path) -> None:
    ssh = shlex.join(client.command())
    for tree in ("noise", "small"):
        subprocess.run(["rm", "-rf", folder / "back"], check=True)
        for direction, paths in (
            ("up", (f"{trees[tree]}/", f"{where}:{name}-{tree}/")),
            ("down", (f"{where}:{name}-{tree}/", f"{folder}/back/")),
        ):
            began = time.perf_counter()
            subprocess.run([RSYNC, "-a", "-e", ssh, *paths], check=True, timeout=300)
            seconds = time.perf_counter() - began
            speed = (
                f"{100 / seconds:4.0f} MB/s" if tree == "noise" else f"{SMALL_FILES / seconds:6.0f} files/s"
            )
            print(f"{name:8} {tree:6} {direction:5} {seconds:6.2f} s {speed}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as place, World(Path(place) / "world") as world:
        folder = Path(place)
        trees = make(folder)
        report_reader(trees, folder)
        direct = Client(folder / "direct", port=world.web_1.port)
        world.web_1.authorize("deploy", direct.public_key)
        direct.trust_host()
        report_relay("direct", direct, "deploy@localhost", trees, folder)
        report_relay("bastion", world.certified("alice"), "web-1@localhost", trees, folder)
        for recording in world.recordings:
            print(f"recording of {recording.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
