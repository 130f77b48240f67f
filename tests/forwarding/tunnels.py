"""Clients that forward: a master connection with what it forwards, sockets through it, and what became of it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from recorder.events import Happened
from recorder.reader import Reader
from tests.rig.openssh import Client
from tests.rig.process import wait_until
from tests.rig.world import World


@contextmanager
def master(
    client: Client, socket_path: Path, *arguments: str, to: str = "web-1@bastion"
) -> Iterator[list[str]]:
    """A ControlMaster to *to*; gives the arguments with which ssh uses it."""
    through = ["-S", str(socket_path), to]
    options = ["-o", "ControlPersist=no", "-o", "ExitOnForwardFailure=yes", "-M", "-N", "-f"]
    subprocess.run(client.command(*options, *arguments, *through), check=True, timeout=30)
    try:
        yield through
    finally:
        subprocess.run(client.command("-O", "exit", *through), check=False, capture_output=True, timeout=30)


def connected(port: int) -> socket.socket:
    """A connection to *port* on 127.0.0.1 on which nothing is waited for longer than a while."""
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def talk(peer: socket.socket, data: bytes) -> bytes:
    """Send *data*, end that side, and return everything that comes back until the other one ends."""
    with peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        return read_all(peer)


def read_all(peer: socket.socket) -> bytes:
    """What comes until the other side ends, or ssh slams the door."""
    chunks = []
    with suppress(ConnectionResetError):
        while chunk := peer.recv(65536):
            chunks.append(chunk)
    return b"".join(chunks)


def read(peer: socket.socket, size: int) -> bytes:
    """Exactly *size* bytes."""
    data = b""
    while len(data) < size:
        chunk = peer.recv(size - len(data))
        assert chunk, f"it ended after {data!r}"
        data += chunk
    return data


def forwarding(world: World, *, ending: str | None = "client disconnected") -> dict[str, Any]:
    """The newest session that forwards, once it has ended so."""

    def found() -> list[dict[str, Any]]:
        forwards = [row for row in sessions(world) if row["action"] in ("forward", "listen")]
        return [row for row in forwards if not row["command"]]  # else it is of one connection

    wait_until(lambda: bool(every := found()) and every[0]["ending"] == ending, f"a forwarding {ending}")
    return found()[0]


def sessions(world: World) -> list[dict[str, Any]]:
    """All sessions, the newest first: what the header says, the id, and the ending, `live` while there is none."""
    found = []
    for path in world.recordings:
        with path.open("rb") as file:
            reader = Reader(file)
            for _ in reader:
                pass
            ending = reader.seal.session.ending if reader.seal is not None else "live"
            header = reader.header
            found.append({**header.facts, "id": reader.id, "at": header.started_at, "ending": ending})
    return sorted(found, key=lambda each: float(each["at"]), reverse=True)


def recording(world: World, session: str) -> Path:
    """The file of a session."""
    return next(path for path in world.recordings if path.stem == session)


def happened(world: World, session: str) -> list[Happened]:
    """What is on record of a session's connections."""
    with recording(world, session).open("rb") as file:
        return [entry.event for entry in Reader(file) if isinstance(entry.event, Happened)]
