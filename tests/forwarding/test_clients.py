"""The clients of others forward, too."""

from __future__ import annotations

import asyncio
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest

from tests.clients.conftest import CLIENTS, need
from tests.clients.test_other_clients import by_code
from tests.forwarding.services import greet, served
from tests.forwarding.tunnels import connected, talk
from tests.rig.openssh import Client
from tests.rig.process import free_port, wait_until
from tests.rig.world import World

SAID = b"220 at your service\r\nhello"

PARAMIKO = """
import sys, paramiko
port, key, certificate, known_hosts, destination = sys.argv[1:]
client = paramiko.SSHClient()
client.load_host_keys(known_hosts)
identity = paramiko.Ed25519Key.from_private_key_file(key)
identity.load_certificate(certificate)
client.connect("localhost", int(port), "web-1", pkey=identity, allow_agent=False, look_for_keys=False)
channel = client.get_transport().open_channel("direct-tcpip", ("localhost", int(destination)), ("127.0.0.1", 1))
channel.sendall(b"hello")
channel.shutdown_write()
while data := channel.recv(4096):
    sys.stdout.buffer.write(data)
client.close()
"""


def test_plink(alice: Client, world: World, tmp_path: Path) -> None:
    plink, puttygen, key = need("plink"), need("puttygen"), tmp_path / "alice.ppk"
    made: list[str | Path] = [
        puttygen,
        alice.key,
        "--certificate",
        alice.certificate,
        "-O",
        "private",
        "-o",
        key,
    ]
    subprocess.run(made, check=True, timeout=20)
    with served(greet) as port:
        done = subprocess.run(
            [
                plink, "-batch", "-ssh", "-hostkey", world.host_fingerprint(), "-P", str(world.bastion.port),
                "-i", key, "-nc", f"localhost:{port}", "web-1@localhost",
            ],
            input=b"hello", capture_output=True, timeout=30, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, SAID), done.stderr.decode()


def test_dbclient(world: World, tmp_path: Path) -> None:
    """Its `-L`, while a command runs; alice signs in by the code that it shows."""
    dbclient, local, flag = need("dbclient"), free_port(), world.web_1.home("deploy") / "tunnelled"
    with served(greet) as port, ThreadPoolExecutor(max_workers=1) as beside:
        running = beside.submit(
            by_code, world, dbclient, "-y", "-y", "-p", str(world.bastion.port),
            "-L", f"{local}:localhost:{port}", "web-1@localhost", "until [ -e tunnelled ]; do sleep 0.1; done",
            home=tmp_path,
        )  # fmt: skip
        try:
            said = _once_open(local)
        finally:
            flag.touch()
            status, shown = running.result()
    assert (status, said) == (0, SAID), shown


def _once_open(port: int) -> bytes:
    def try_it() -> bool:
        try:
            tunnel = connected(port)
        except ConnectionRefusedError:
            return False
        said.append(talk(tunnel, b"hello"))
        return True

    said: list[bytes] = []
    wait_until(try_it, "dbclient listens", timeout=20)
    return said[0]


def test_paramiko(certified: Client) -> None:
    if not (CLIENTS / "bin/python").exists():
        pytest.skip("paramiko is not here; scripts/clients installs it")
    with served(greet) as port:
        arguments = [certified.port, certified.key, certified.certificate, certified.known_hosts, port]
        done = subprocess.run(
            [CLIENTS / "bin/python", "-c", PARAMIKO, *map(str, arguments)],
            capture_output=True, timeout=40, check=False,
        )  # fmt: skip
    assert done.stdout == SAID, done.stderr.decode()


async def test_asyncssh(certified: Client) -> None:
    async with asyncssh.connect(
        "localhost", certified.port, username="web-1", known_hosts=str(certified.known_hosts),
        client_keys=[(str(certified.key), str(certified.certificate))], agent_path=None, config=None,
    ) as connection:  # fmt: skip
        with served(greet) as port:
            reader, writer = await connection.open_connection("localhost", port)
            writer.write(b"hello")
            writer.write_eof()
            assert await reader.read() == SAID
            listener = await connection.forward_remote_port("localhost", 0, "localhost", port)
            assert await asyncio.to_thread(lambda: talk(connected(listener.get_port()), b"hello")) == SAID
