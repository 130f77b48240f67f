"""What a target may ask of the client: connections that it listens for (`ssh -R`), the client's agent and screen."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from tests.forwarding.services import count, greet, served
from tests.forwarding.tunnels import connected, forwarding, happened, master, sessions, talk
from tests.rig.openssh import Client
from tests.rig.process import free_port, wait_until
from tests.rig.world import World


def test_what_a_target_listens_for_comes_to_the_client(alice: Client, world: World, short: Path) -> None:
    remote, far = free_port(), short / "far"
    with served(greet) as port, served(count) as other:
        listens = ["-R", f"{remote}:localhost:{port}", "-R", f"{far}:localhost:{other}"]
        with master(alice, short / "mux", *listens) as through:
            assert talk(connected(remote), b"in") == b"220 at your service\r\nin"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(far))
                assert talk(client, b"x" * 100_000) == b"100000 bytes"
            done = alice.run("-O", "cancel", "-R", f"{remote}:localhost:{port}", *through)
            assert done.status == 0, done.errors
            wait_until(lambda: not _listens(remote), "the target listens no more")
            assert alice.run(*through, "hostname").text == "web-1\n"
    row = forwarding(world)
    assert (row["action"], row["target"], row["login"]) == ("listen", "web-1", "deploy")
    every = happened(world, row["id"])
    assert [event.text for event in every if event.what == "listening"] == [f"localhost:{remote}", str(far)]
    ended = [event for event in every if event.what == "end"]
    assert [(event.facts["received"], event.facts["sent"]) for event in ended] == [(2, 23), (100_000, 12)]


def _listens(port: int) -> bool:
    """Whether something listens at the port. Asked by binding it: a probe that connects would be recorded."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


async def test_a_client_cannot_have_a_target_listen_everywhere_at_once(
    certified: Client, world: World
) -> None:
    async with asyncssh.connect(
        "localhost", certified.port, username="web-1", known_hosts=str(certified.known_hosts),
        client_keys=[(str(certified.key), str(certified.certificate))], agent_path=None, config=None,
    ) as connection:  # fmt: skip
        for _ in range(64):
            await connection.forward_remote_port("localhost", 0, "localhost", 1)
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("localhost", 0, "localhost", 1)
    assert (
        len([event for event in happened(world, forwarding(world)["id"]) if event.what == "listening"]) == 64
    )


def test_a_target_may_choose_the_port(alice: Client, short: Path) -> None:
    with served(greet) as port, master(alice, short / "mux", to="deploy@web-1@bastion") as through:
        done = alice.run("-O", "forward", "-R", f"0:localhost:{port}", *through)
        assert done.status == 0, done.errors
        chosen = int(done.text)
        assert talk(connected(chosen), b"in") == b"220 at your service\r\nin"


def test_through_a_jump_a_target_listens_too(alice: Client, short: Path) -> None:
    remote = free_port()
    with served(greet) as port:
        listen = ["-J", "bastion", "-R", f"{remote}:localhost:{port}"]
        with master(alice, short / "mux", *listen, to="deploy@web-1"):
            assert talk(connected(remote), b"in") == b"220 at your service\r\nin"


@pytest.mark.parametrize(
    ("listen", "to"),
    [("*:0:localhost:1", "web-1@bastion"), ("0:localhost:1", "web-2@bastion"), ("0:localhost:1", "bastion")],
)
def test_what_no_rule_grants_is_not_listened_for(alice: Client, listen: str, to: str) -> None:
    done = alice.run("-v", "-o", "ExitOnForwardFailure=yes", "-N", "-R", listen, to)
    assert done.status == 255
    assert "remote port forwarding failed" in done.errors
    assert "Remote: not listening at" in done.errors


@pytest.fixture
def agent(alice: Client, short: Path) -> Iterator[tuple[str, ...]]:
    """The options with which ssh has an agent that holds the key of alice, and forwards it."""
    socket_path = short / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.DEVNULL) as running:
        try:
            wait_until(socket_path.exists, "an agent")
            environment = {**os.environ, "SSH_AUTH_SOCK": str(socket_path)}
            subprocess.run(["ssh-add", "-q", str(alice.key)], env=environment, check=True)
            yield ("-A", "-o", f"IdentityAgent={socket_path}")
        finally:
            running.terminate()


def test_an_agent_is_there_for_programs_on_the_target(
    alice: Client, world: World, agent: tuple[str, ...]
) -> None:
    done = alice.run(*agent, "web-1@bastion", "ssh-add -L; ssh-add -l")
    assert alice.public_key.split()[1] in done.text, done.errors
    through = alice.run(*agent, "-J", "bastion", "deploy@web-1", "ssh-add -L")
    assert alice.public_key.split()[1] in through.text, through.errors
    row = sessions(world)[1]
    assert row["action"] == "exec"
    every = happened(world, row["id"])
    assert [event.what for event in every] == ["connection", "end"] * 2
    assert {event.text for event in every if event.what == "connection"} == {"agent"}
    assert all(event.facts["sent"] and event.facts["received"] for event in every[1::2])
    assert alice.run(*agent, "bastion", "web-1 ssh-add -l").status == 0  # the target named by the command


def test_without_a_rule_a_session_goes_on_without_an_agent(alice: Client, agent: tuple[str, ...]) -> None:
    done = alice.run(*agent, "web-2@bastion", 'echo "agent: $SSH_AUTH_SOCK."')
    assert (done.status, done.text, done.errors) == (0, "agent: .\n", "")


def test_windows_open_on_the_screen_of_the_client(
    alice: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An X server of ours hears the setup of a client on the target, with the cookie that it knows itself."""
    heard: list[bytes] = []

    def screen(peer: socket.socket) -> None:
        heard.append(peer.recv(4096))
        peer.sendall(b"\x01 the screen")

    with served(screen, at=range(6100, 6200)) as port:
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{port - 6000}")
        command = f"echo $DISPLAY; {sys.executable} -c '{_X11_PROGRAM}' {world.folder}/cookies"
        done = alice.run("-Y", "web-1@bastion", command)
    assert done.status == 0, done.errors
    assert done.stdout.endswith(b"\x01 the screen")
    assert heard and b"MIT-MAGIC-COOKIE-1" in heard[0]
    assert [event.text for event in happened(world, sessions(world)[0]["id"])] == ["x11", "x11: closed"]
    plain = alice.run("-Y", "web-2@bastion", 'echo "display: $DISPLAY."')
    assert (plain.status, plain.text) == (0, "display: .\n")


_X11_PROGRAM = """
import os, re, socket, sys
cookie = bytes.fromhex(re.search("MIT-MAGIC-COOKIE-1 ([0-9a-f]+)", open(sys.argv[1]).read())[1])
display = int(re.search(":([0-9]+)", os.environ["DISPLAY"])[1])
name = b"MIT-MAGIC-COOKIE-1"
setup = b"l\\0" + (11).to_bytes(2, "little") + bytes(2) + len(name).to_bytes(2, "little")
setup += len(cookie).to_bytes(2, "little") + bytes(2) + name + bytes(-len(name) % 4) + cookie
peer = socket.create_connection(("127.0.0.1", 6000 + display))
peer.sendall(setup)
sys.stdout.buffer.write(peer.recv(100))
""".replace("'", '"')
"""Begins to talk to an X server as a program does that is started on the target."""
