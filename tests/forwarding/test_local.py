"""`ssh -L`, `-D`, `-W` with plain OpenSSH: through the target that is named, as far as rules grant it, on record."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.forwarding.services import count, echo, greet, pour, served, silent
from tests.forwarding.tunnels import connected, forwarding, happened, master, read, read_all, talk
from tests.rig.openssh import Client
from tests.rig.process import free_port, wait_until
from tests.rig.world import World
from tests.server.recorded import events, rows


@pytest.mark.parametrize(
    "arguments", [("web-1@bastion",), ("deploy@web-1@bastion",), ("-J", "bastion", "deploy@web-1")]
)
def test_a_connection_goes_through_the_target_that_is_named(
    alice: Client, world: World, arguments: tuple[str, ...]
) -> None:
    """The one who speaks first is heard, and each side may end before the other one."""
    with served(greet) as port:
        done = alice.run("-W", f"localhost:{port}", *arguments, stdin=b"hello")
        assert done.stdout == b"220 at your service\r\nhello"
    row = forwarding(world)
    assert (row["user"], row["target"], row["login"], row["action"]) == (
        "alice",
        "web-1",
        "deploy",
        "forward",
    )
    begun, ended = happened(world, row["id"])
    assert (begun.what, begun.text, begun.facts["way"]) == ("connection", f"localhost:{port}", "forward")
    assert (ended.what, ended.facts["sent"], ended.facts["received"]) == ("end", 5, 26)
    assert ended.facts["result"] == "closed"
    world.web_1.wait_for_log(f"u:alice/session:{row['id']}")


def test_a_target_named_as_destination_is_gone_through_to_itself(alice: Client) -> None:
    with served(count) as port:
        done = alice.run("-W", f"web-1:{port}", "bastion", stdin=b"x" * 300_000)
        assert done.stdout == b"300000 bytes"


def test_many_connections_of_one_master_are_one_session_beside_others(
    alice: Client, world: World, short: Path
) -> None:
    """-L to a port, -L to a socket, -D, and commands, all over one connection."""
    local, dynamic, near, far = free_port(), free_port(), short / "near", short / "far"
    with served(echo) as port, served(echo, far):
        forwards = [
            "-L", f"{local}:localhost:{port}", "-L", f"{near}:{far}", "-D", str(dynamic),
        ]  # fmt: skip
        with master(alice, short / "mux", *forwards) as through:
            with connected(local) as one, connected(local) as two:  # both at a time
                one.sendall(b"one")
                two.sendall(b"two")
                assert (read(two, 3), read(one, 3)) == (b"two", b"one")
            assert alice.run(*through, "hostname").text == "web-1\n"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(near))
                assert talk(client, b"by path") == b"by path"
            with connected(dynamic) as proxied:
                assert _socks(proxied, "localhost", port)
                assert talk(proxied, b"by socks") == b"by socks"
            with connected(dynamic) as refused:
                assert not _socks(refused, "169.254.169.254", 80)
    row = forwarding(world)
    texts = [event.text for event in happened(world, row["id"]) if event.what == "connection"]
    assert sorted(texts) == sorted([f"localhost:{port}"] * 3 + [str(far)])
    assert sum(row["action"] == "forward" for row in rows(world)) >= 1
    noted = events(world, "connection.refused")[0]
    assert (noted["detail"]["end"], noted["session"]) == ("169.254.169.254:80", row["id"])


def test_a_target_that_has_said_all_still_hears_the_client(alice: Client, short: Path) -> None:
    heard: list[bytes] = []

    def speak_then_listen(peer: socket.socket) -> None:
        peer.sendall(b"all I say")
        peer.shutdown(socket.SHUT_WR)
        heard.append(read_all(peer))

    local = free_port()
    with served(speak_then_listen) as port, master(alice, short / "mux", "-L", f"{local}:localhost:{port}"):
        with connected(local) as client:
            assert read_all(client) == b"all I say"
            client.sendall(b"x" * 100_000)
        wait_until(lambda: heard == [b"x" * 100_000], "the target heard everything")


def _socks(peer: socket.socket, host: str, port: int) -> bool:
    """Ask a SOCKS5 proxy (RFC 1928) for a connection; ssh ends what it cannot open."""
    peer.sendall(b"\x05\x01\x00")
    assert read(peer, 2) == b"\x05\x00"
    peer.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big"))
    return bool(peer.recv(1)) and read(peer, 9)[0] == 0


@pytest.mark.parametrize(
    ("person", "destination", "to", "reason"),
    [
        ("alice", "localhost:1", "web-1@bastion", "no rule lets you forward connections to localhost:1 on web-1"),
        ("alice", "127.0.0.1:80", "web-1@bastion", "no rule lets you forward connections to 127.0.0.1:80 on web-1 as"),
        ("alice", "localhost:80", "ops@web-1@bastion", "to localhost:80 on web-1 as ops; you may as deploy"),
        ("alice", "localhost:80", "web-2@bastion", "no rule lets you forward connections to localhost:80 on web-2"),
        ("alice", "localhost:80", "bastion", "there is no target localhost that you may reach on port 80"),
        ("bob", "localhost:80", "web-1@bastion", "there is no target localhost that you may reach on port 80"),
        ("bob", "web-1:80", "bastion", "there is no target web-1 that you may reach on port 80"),
    ],
)  # fmt: skip
def test_what_no_rule_grants_is_refused_with_words(
    world: World, person: str, destination: str, to: str, reason: str
) -> None:
    before = len(world.recordings)
    done = world.jumper(person).run("-W", destination, to)
    assert done.status == 255
    assert "administratively prohibited: " in done.errors
    assert reason in done.errors
    assert len(world.recordings) == before


def test_a_port_where_nothing_listens_is_told_and_on_record(alice: Client, world: World) -> None:
    done = alice.run("-W", f"localhost:{free_port()}", "web-1@bastion")
    assert "connect failed" in done.errors
    _, ended = happened(world, forwarding(world)["id"])
    assert str(ended.facts["result"]).startswith("not opened")


def test_a_host_that_does_not_answer_holds_up_nobody_else(alice: Client, short: Path) -> None:
    dead, alive = free_port(), free_port()
    with served(greet) as port, silent() as nowhere:
        forwards = ["-L", f"{dead}:localhost:{nowhere}", "-L", f"{alive}:localhost:{port}"]
        with master(alice, short / "mux", *forwards) as through, connected(dead), connected(dead):
            assert talk(connected(alive), b"me") == b"220 at your service\r\nme"
            assert alice.run(*through, "hostname").text == "web-1\n"


def test_a_reader_that_stops_costs_no_memory_and_gets_everything_in_the_end(
    alice: Client, world: World, short: Path
) -> None:
    size, local = 64 * 1024 * 1024, free_port()
    with served(pour(size)) as port, master(alice, short / "mux", "-L", f"{local}:localhost:{port}"):
        assert len(read_all(connected(local))) == size  # what asyncssh and Python take once they keep
        before = _resident(world)
        with connected(local) as slow:
            first = read(slow, 1024)
            assert talk(connected(local), b"")[:1024] == first  # a neighbour goes on
            assert _resident(world) - before < 24 * 1024 * 1024
            assert len(read_all(slow)) == size - 1024


def _resident(world: World) -> int:
    """Bytes of memory that the bastion holds."""
    pages = Path(f"/proc/{world.bastion.pid}/statm").read_text().split()[1]
    return int(pages) * 4096
