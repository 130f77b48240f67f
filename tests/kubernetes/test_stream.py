"""Exec and attach, one conversation after the other, without a bastion around."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from bastion.connectors.kubernetes.channels import V4, V5
from bastion.connectors.kubernetes.cluster import Cluster, open_cluster
from bastion.connectors.kubernetes.impersonation import Impersonated
from bastion.connectors.kubernetes.program import SHELL, words_of
from bastion.connectors.kubernetes.session import container_names, with_container
from bastion.connectors.kubernetes.stream import LARGEST_PIECE, PodEnd, open_stream
from bastion.errors import TargetError
from bastion.sessions.pods import PodName
from bastion.transport.request import Pty, SessionRequest
from recorder.events import ErrorOutput, Event, Exited, Input, InputEnded, Output, Resized, Signalled
from tests.kubernetes.conftest import Place
from tests.kubernetes.double import Double, drained
from tests.kubernetes.storage import pod

PTY = Pty(terminal="xterm", columns=91, rows=33)


def command(line: str, pty: Pty | None = None) -> SessionRequest:
    return SessionRequest(kind="exec", command=line, pty=pty)


@asynccontextmanager
async def opened(
    place: Place, request: SessionRequest, pod: str = "", **more: object
) -> AsyncIterator[PodEnd]:
    who = Impersonated(user="alice", groups=("sre",))
    async with open_cluster(place.target(**more), who) as cluster:
        named = await with_container(cluster, PodName(namespace=place.namespace, pod=pod or place.pod))
        async with open_stream(cluster, named, request) as end:
            yield end


async def everything(end: PodEnd) -> list[Event]:
    """All that comes, neighbouring pieces of a stream joined."""
    found: list[Event] = []
    while events := await end.receive():
        for event in events:
            last = found[-1] if found else None
            if isinstance(event, Output | ErrorOutput) and type(last) is type(event):
                assert isinstance(last, Output | ErrorOutput)
                found[-1] = type(event)(last.data + event.data)
            else:
                found.append(event)
    return found


async def until(end: PodEnd, text: bytes) -> bytes:
    """What is put out until *text* is among it."""
    shown = b""
    while text not in shown:
        for event in await end.receive():
            assert isinstance(event, Output), event
            shown += event.data
    return shown


@pytest.fixture(params=[(V5, V4), (V4,)], ids=["v5", "v4"])
def versions(request: pytest.FixtureRequest, cluster: Place) -> Iterator[None]:
    """What the double speaks; a real cluster speaks what it speaks, and is asked once."""
    if cluster.double is None and request.param == (V4,):
        pytest.skip("a real cluster speaks what it speaks")
    if cluster.double is not None:
        cluster.double.protocols = request.param
    yield
    if cluster.double is not None:
        cluster.double.protocols = (V5, V4)


async def test_the_streams_of_a_command_stay_apart_and_its_status_is_known(
    cluster: Place, versions: object
) -> None:
    async with opened(cluster, command("echo out; sleep 0.2; echo err >&2; exit 7")) as end:
        assert await everything(end) == [Output(b"out\n"), ErrorOutput(b"err\n"), Exited(7)]
        assert end.exit == Exited(7)


async def test_input_reaches_a_command_and_its_end_ends_it(cluster: Place) -> None:
    data = bytes(range(256)) * 1024
    async with opened(cluster, command("cat")) as end:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(everything(end))
            await end.deliver([Input(data), InputEnded()])
        assert reading.result() == [Output(data), Exited(0)]
    assert len(data) > 4 * LARGEST_PIECE


async def test_a_terminal_has_the_clients_size_follows_it_and_makes_signals_of_keys(
    cluster: Place, versions: object
) -> None:
    async with opened(cluster, SessionRequest(kind="shell", pty=PTY)) as end:
        await end.deliver([Input(b"stty size; echo on-$((40+2))\n")])
        assert b"33 91" in await until(end, b"on-42")
        await end.deliver([Resized(120, 50), Input(b"stty size\n")])
        await until(end, b"50 120")
        await end.deliver([Input(b"sh -c 'echo sleep$0; exec sleep 100' s\n")])
        await until(end, b"sleeps")
        await end.deliver([Signalled("INT"), Input(b"exit 7\n")])
        assert (await everything(end))[-1] == Exited(7)


async def test_words_of_a_client_are_run_as_they_are(cluster: Place) -> None:
    request = SessionRequest(kind="exec", command="x", program=("echo", "$HOME", "a  b;"), takes_input=False)
    async with opened(cluster, request) as end:
        assert await everything(end) == [Output(b"$HOME a  b;\n"), Exited(0)]


async def test_without_input_a_command_finds_its_end_at_once(cluster: Place, versions: object) -> None:
    request = SessionRequest(kind="exec", program=("cat",), takes_input=False)
    async with opened(cluster, request) as end:
        assert await everything(end) == [Exited(0)]


async def test_attach_joins_what_runs_there(cluster: Place) -> None:
    if cluster.double is None:
        pytest.skip("what runs in the pod of a real cluster says nothing")
    async with opened(cluster, SessionRequest(kind="shell", program=())) as end:
        assert await end.receive() == [Output(b"attached\n")]
        await end.deliver([Input(b"hello\n")])
        assert await end.receive() == [Output(b"hello\n")]


async def test_a_server_that_turns_down_the_offer_of_v5_is_asked_for_v4(cluster: Place) -> None:
    if cluster.double is None:
        pytest.skip("only the double can be as old as that")
    cluster.double.turns_down = V5
    try:
        async with opened(cluster, command("echo out")) as end:
            assert await everything(end) == [Output(b"out\n"), Exited(0)]
    finally:
        cluster.double.turns_down = ""


async def test_who_may_not_is_told_so_by_the_cluster_and_asked_once(double: Double) -> None:
    place = Place(
        kubeconfig=double.kubeconfig(), namespace="shop", pod="api-7d9", container="app", double=double
    )
    async with open_cluster(place.target(), Impersonated(user="mallory", groups=("audit",))) as cluster:
        before = len(double.seen)
        pod = PodName(namespace="shop", pod="api-7d9", container="app")
        with pytest.raises(TargetError, match="cannot get resource"):
            async with open_stream(cluster, pod, command("id")):
                pass
        assert len(double.seen) == before + 1


async def test_a_container_without_a_shell_still_runs_programs(double: Double) -> None:
    place = Place(
        kubeconfig=double.kubeconfig(), namespace="shop", pod="bare-0", container="main", double=double
    )
    async with opened(place, command("/bin/echo plain words")) as end:
        assert await everything(end) == [Output(b"plain words\n"), Exited(0)]
    for request in (SessionRequest(kind="shell", pty=PTY), command("echo | wc")):
        async with opened(place, request) as end:
            with pytest.raises(TargetError, match=r"there is no shell in shop/bare-0:main"):
                await everything(end)


async def test_where_there_is_no_bash_the_shell_is_sh(double: Double) -> None:
    place = Place(
        kubeconfig=double.kubeconfig(), namespace="shop", pod="small-0", container="main", double=double
    )
    async with opened(place, SessionRequest(kind="shell")) as end:
        await end.deliver([Input(b"echo ${BASH_VERSION:-none}\nexit\n")])
        assert await everything(end) == [Output(b"none\n"), Exited(0)]
    place = Place(
        kubeconfig=double.kubeconfig(), namespace="shop", pod="api-7d9", container="app", double=double
    )
    async with opened(place, SessionRequest(kind="shell")) as end:
        await end.deliver([Input(b"echo ${BASH_VERSION:-none}\nexit\n")])
        assert b"none" not in b"".join(e.data for e in await everything(end) if isinstance(e, Output))


Said = Callable[[web.WebSocketResponse], Any]
STATUS = b'\x03{"metadata": {}, "status": "Success"}'
HOSTILE: list[tuple[str, Said, str]] = [
    ("text", lambda s: s.send_str("hello"), "it sent text"),
    ("an unknown stream", lambda s: s.send_bytes(b"\x07data"), "something on stream 7"),
    ("input", lambda s: s.send_bytes(b"\x00data"), "something on stream 0"),
    ("too much at once", lambda s: s.send_bytes(b"\x01" + bytes(2 << 20)), "too large"),
    ("a status that is none", lambda s: s.send_bytes(b"\x03{]"), "no word of how"),
    ("a status without an end", lambda s: s.send_bytes(b"\x03" + b"[" * 100_000), "no word of how"),
    ("a code that is none", lambda s: s.send_bytes(b'\x03{"reason": "NonZeroExitCode", "details": 1}'), "no word"),
    (
        "an escape",
        lambda s: s.send_bytes(b"\x03" + json.dumps({"status": "Failure", "message": "\x1b[2J" * 900}).encode()),
        "shop/hostile",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "say", "problem"), HOSTILE, ids=[name for name, _, _ in HOSTILE])
async def test_a_server_that_breaks_the_protocol_ends_the_session_with_a_reason(
    hostile: Callable[[Said], Place], name: str, say: Said, problem: str
) -> None:
    async with opened(hostile(say), command("id"), "hostile") as end:
        with pytest.raises(TargetError, match=problem) as error:
            await everything(end)
    assert len(error.value.message) < 700


@pytest.fixture
def hostile(double: Double) -> Callable[[Said], Place]:
    """A pod that says what it is given, and then waits."""
    double.storage.put("pods", "shop", "hostile", pod("shop", "hostile", {"main": "debian"}))

    def says(say: Said) -> Place:
        async def script(socket: web.WebSocketResponse) -> None:
            await say(socket)
            await drained(socket)

        double.scripts["hostile"] = script
        return Place(
            kubeconfig=double.kubeconfig(), namespace="shop", pod="hostile", container="main", double=double
        )

    return says


async def test_a_server_that_goes_away_leaves_no_status(
    hostile: Callable[[Said], Place], double: Double
) -> None:
    async def say(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\x01half a li")
        double.cut_streams()

    async with opened(hostile(say), command("id"), "hostile") as end:
        assert await everything(end) == [Output(b"half a li")]
        assert end.exit is None


async def test_a_close_without_a_status_is_no_success(hostile: Callable[[Said], Place]) -> None:
    async with opened(hostile(lambda socket: socket.close(code=1000)), command("id"), "hostile") as end:
        assert await everything(end) == []
        assert end.exit is None


async def test_who_reads_nothing_holds_the_pod_back(cluster: Place) -> None:
    """What it has written and nobody has read waits in the pod, not here."""
    line = "dd if=/dev/zero bs=65536 count=512 2>/dev/null; echo all >&2"
    async with opened(cluster, command(line)) as end:
        while not end._socket.recv_messages.paused:
            await asyncio.sleep(0.01)
        assert len(end._socket.recv_messages.frames) <= 16, "what waits here is bounded"
        events: list[Event] = []
        while more := await end.receive():
            events += more
    assert sum(len(event.data) for event in events if isinstance(event, Output)) == 512 * 65536
    assert events[-2:] == [ErrorOutput(b"all\n"), Exited(0)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ls /", ("ls", "/")),
        ("  /app --listen=:80 a@b ", ("/app", "--listen=:80", "a@b")),
        ("A=1 env", ("sh", "-c", "A=1 env")),
        ("ls *", ("sh", "-c", "ls *")),
        ("ls ~", ("sh", "-c", "ls ~")),
        ("ls | wc", ("sh", "-c", "ls | wc")),
        ("echo 'a b'", ("sh", "-c", "echo 'a b'")),
        ("exit 7", ("sh", "-c", "exit 7")),
        ("ls\nid", ("sh", "-c", "ls\nid")),
        ("echo ü", ("sh", "-c", "echo ü")),
    ],
)
def test_a_line_goes_to_a_shell_only_where_it_takes_one(line: str, words: tuple[str, ...]) -> None:
    assert words_of(line) == words
    assert SHELL[:2] == ("sh", "-c")


def test_the_container_is_the_one_that_kubectl_would_take() -> None:
    pod: dict[str, Any] = {"spec": {"containers": [{"name": "side"}, {"name": "app"}]}, "metadata": {}}
    assert container_names(pod) == ["side", "app"]
    pod["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "app"}
    assert container_names(pod) == ["app", "side"]
    assert container_names({"spec": {"containers": [None, {"name": 3}]}}) == []


async def test_who_may_not_look_at_pods_may_still_be_let_in(double: Double) -> None:
    who = Impersonated(user="mallory")
    place = Place(
        kubeconfig=double.kubeconfig(), namespace="shop", pod="api-7d9", container="app", double=double
    )
    async with open_cluster(place.target(), who) as cluster:
        assert isinstance(cluster, Cluster)
        pod = PodName(namespace="shop", pod="api-7d9")
        assert await with_container(cluster, pod) == pod
