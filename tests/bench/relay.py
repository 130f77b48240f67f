"""What the bastion costs: bulk throughput, keystroke echo and set-up time, direct and through it.

    .venv/bin/python -m tests.bench.relay

Client, bastion and target share this machine, so compare ratios within one run. Stock ssh everywhere; direct means the
same sshd with the same client.
"""

from __future__ import annotations

import os
import pty
import select
import statistics
import subprocess
import tempfile
import time
import tty
from pathlib import Path

from tests.rig.openssh import Client
from tests.rig.world import World

MEGABYTES = 100
ECHOES = 300
CONNECTIONS = 10
CIPHER = ("-o", "Ciphers=aes128-gcm@openssh.com")


def throughput(client: Client, where: str) -> tuple[float, float]:
    """MB/s down and up, of bytes that do not compress and are mostly no text."""
    blob = os.urandom(1_000_000) * MEGABYTES
    began = time.perf_counter()
    down = client.run(*CIPHER, where, f"head -c {MEGABYTES}000000 /dev/urandom", timeout=120)
    down_seconds = time.perf_counter() - began
    assert len(down.stdout) == MEGABYTES * 1_000_000
    began = time.perf_counter()
    client.run(*CIPHER, where, "cat > /dev/null", stdin=blob, timeout=120)
    return MEGABYTES / down_seconds, MEGABYTES / (time.perf_counter() - began)


def text_throughput(client: Client, where: str) -> float:
    """MB/s down of text."""
    began = time.perf_counter()
    done = client.run(
        *CIPHER, where, f"yes 'The quick brown fox 0123456789' | head -c {MEGABYTES}000000", timeout=120
    )
    assert len(done.stdout) == MEGABYTES * 1_000_000
    return MEGABYTES / (time.perf_counter() - began)


def echo(client: Client, where: str) -> tuple[float, float]:
    """Median and 99th percentile of one key's way to the target's terminal and back, in milliseconds."""
    own, other = pty.openpty()
    tty.setraw(other)
    ssh = subprocess.Popen(
        client.command("-tt", where, "stty raw -echo; echo ready; cat"), stdin=other, stdout=other
    )
    try:
        seen = b""
        while b"ready" not in seen:
            seen += os.read(own, 4096)
        times = []
        for _ in range(ECHOES):
            began = time.perf_counter()
            os.write(own, b"x")
            select.select([own], [], [], 5)
            os.read(own, 4096)
            times.append((time.perf_counter() - began) * 1000)
            time.sleep(0.005)
    finally:
        ssh.kill()
        ssh.wait()
        os.close(own)
        os.close(other)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.99)]


def setup(client: Client, where: str) -> float:
    """Milliseconds from starting ssh to the end of `true`, median."""
    times = []
    for _ in range(CONNECTIONS):
        began = time.perf_counter()
        client.run(where, "true")
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def report(name: str, client: Client, where: str) -> None:
    down, up = throughput(client, where)
    text = text_throughput(client, where)
    median, worst = echo(client, where)
    print(
        f"{name:20} {down:6.0f} {up:6.0f} {text:6.0f} MB/s   echo {median:5.2f} / {worst:5.2f} ms"
        f"   set-up {setup(client, where):4.0f} ms",
        flush=True,
    )


def main() -> None:
    print(f"{'':20} {'down':>6} {'up':>6} {'text':>6}        median / 99 %")
    with tempfile.TemporaryDirectory() as folder, World(Path(folder) / "world") as world:
        direct = Client(Path(folder) / "direct", port=world.web_1.port)
        world.web_1.authorize("deploy", direct.public_key)
        direct.trust_host()
        report("direct", direct, "deploy@localhost")
        alice = world.certified("alice")
        report("bastion, kernel", alice, "web-1@localhost")
        world.configure('[recording]\ndurability = "disk"', restart=True)
        report("bastion, disk", alice, "web-1@localhost")
        resident = Path(f"/proc/{world.bastion.pid}/status").read_text().split("VmRSS:")[1].split("kB")[0]
        print(f"memory of the bastion afterwards: {int(resident) // 1024} MB")


if __name__ == "__main__":
    main()
