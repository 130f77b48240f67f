"""Small servers for the far side of what is forwarded: on ports of 127.0.0.1, or on sockets, each in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Talk = Callable[[socket.socket], None]


@contextmanager
def served(talk: Talk, path: Path | None = None, *, at: Iterable[int] = (0,)) -> Iterator[int]:
    """A server that has *talk* with each who connects; gives its port, or 0 where it listens on *path*.

    The port is the first free one of *at*.
    """
    listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    for port in at:
        with suppress(OSError):
            listener.bind(str(path) if path else ("127.0.0.1", port))
            break
    listener.listen()
    threading.Thread(target=_accept, args=(listener, talk), daemon=True).start()
    try:
        yield 0 if path else listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def silent() -> Iterator[int]:
    """A port where nobody answers: its queue of connections is full, and the kernel drops what else knocks."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port: int = listener.getsockname()[1]
    knocks = [socket.socket() for _ in range(4)]
    for knock in knocks:
        knock.setblocking(False)
        knock.connect_ex(("127.0.0.1", port))
    try:
        yield port
    finally:
        for each in (*knocks, listener):
            each.close()


def echo(peer: socket.socket) -> None:
    """Send back what comes, and end when it has ended."""
    while data := peer.recv(65536):
        peer.sendall(data)


def count(peer: socket.socket) -> None:
    """Take everything, and only then say how much it was."""
    total = 0
    while data := peer.recv(65536):
        total += len(data)
    peer.sendall(b"%d bytes" % total)


def greet(peer: socket.socket) -> None:
    """Speak first, as SMTP and SSH do, then echo."""
    peer.sendall(b"220 at your service\r\n")
    echo(peer)


def pour(size: int) -> Talk:
    """Send *size* bytes at once, and end, whatever the other side does."""

    def talk(peer: socket.socket) -> None:
        with suppress(OSError):
            peer.sendall(bytes(range(256)) * (size // 256))

    return talk


def _accept(listener: socket.socket, talk: Talk) -> None:
    with suppress(OSError):
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=_serve, args=(peer, talk), daemon=True).start()


def _serve(peer: socket.socket, talk: Talk) -> None:
    with peer, suppress(OSError):
        talk(peer)
