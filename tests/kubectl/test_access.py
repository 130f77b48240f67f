"""Requests of a client that means harm, and of clusters that do; what passes, what is recorded, what is cut off."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import pytest

from bastion.errors import StateError
from bastion.kubectl import session as session_module
from recorder.errors import RecordingFailed
from recorder.events import Event, Happened, Output
from recorder.journal import Recording
from tests.kubectl.conftest import TOKEN, Door, ScriptedCluster, head_of

PODS = "/api/v1/namespaces/shop/pods"


async def ok(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A cluster that has nothing to say."""
    if size := re.search(rb"(?i)content-length: (\d+)", head):
        await reader.readexactly(int(size[1]))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")


def status(answer: bytes) -> tuple[int, str]:
    """The code and the message of a refusal."""
    head, _, body = answer.partition(b"\r\n\r\n")
    document = json.loads(body)
    assert document["kind"] == "Status"
    assert head.startswith(b"HTTP/1.1 %d " % document["code"])
    return document["code"], document["message"]


def happened(events: Sequence[Event]) -> list[Happened]:
    return [event for event in events if isinstance(event, Happened)]


async def test_a_request_reaches_the_cluster_in_the_persons_name_and_with_the_bastions_credential(
    door: Door, cluster: ScriptedCluster
) -> None:
    cluster.answer = ok
    answer = await door.ask(
        f"{PODS}?limit=5&x=%2F..%2F", "User-Agent: kubectl/v1", "X-Unknown: 1", "Connection: close"
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"{}")
    (head,) = cluster.heads
    assert head.startswith(f"GET {PODS}?limit=5&x=%2F..%2F HTTP/1.1\r\n".encode())
    text = head.decode()
    assert "the-token-of-alice" not in text
    assert "x-unknown" not in text.lower()
    assert "Authorization: Bearer the-bastion's-own" in text
    assert "Impersonate-User: alice" in text
    assert "Impersonate-Group: sre" in text
    assert "Impersonate-Group: größe" in text

    asked, answered = happened(await door.recorded())
    assert (asked.what, asked.text) == ("request", "list pods -n shop")
    assert asked.facts["verb"] == "list"
    assert (asked.facts["resource"], asked.facts["namespace"]) == ("pods", "shop")
    assert (answered.what, answered.text) == ("end", "list pods -n shop: 200")
    assert (answered.facts["id"], answered.facts["status"], answered.facts["bytes"]) == (1, 200, 2)


@pytest.mark.parametrize(
    ("target", "headers", "token", "code"),
    [
        (PODS, [], "stolen", 401),
        (PODS, [], "", 401),
        (PODS, ["Impersonate-User: root"], TOKEN, 403),
        (PODS, ["Impersonate-Group: system:masters"], TOKEN, 403),
        (PODS, ["X-Remote-User: root"], TOKEN, 403),
        ("/api/v1/namespaces/shop/../../secrets", [], TOKEN, 400),
        ("/api/v1/namespaces/shop/pods/%2e%2e/secrets", [], TOKEN, 400),
        ("//api/v1/secrets", [], TOKEN, 400),
        ("http://prod-k8s/api/v1/secrets", [], TOKEN, 400),
        (f"{PODS}/a/exec?command=sh", ["Connection: Upgrade", "Upgrade: SPDY/3.1"], TOKEN, 400),
        (PODS, ["Connection: Upgrade", "Upgrade: websocket"], TOKEN, 400),
        (f"{PODS}/a/exec?command=sh", ["Connection: Upgrade", "Upgrade: websocket"], TOKEN, 400),
        (PODS, ["Connection: Upgrade", "Upgrade: h2c"], TOKEN, 400),
        (f"{PODS}/a/portforward", ["Connection: Upgrade", "Upgrade: websocket"], TOKEN, 403),
    ],
)  # fmt: skip
async def test_what_a_client_may_not_ask_is_refused_with_a_status_and_never_reaches_the_cluster(
    door: Door, cluster: ScriptedCluster, target: str, headers: list[str], token: str, code: int
) -> None:
    cluster.answer = ok
    answer = await door.ask(target, *headers, token=token)
    assert status(answer)[0] == code
    assert cluster.heads == []


async def test_whoever_found_the_port_and_has_no_token_leaves_a_trace_and_no_recording(door: Door) -> None:
    await door.ask(PODS, token="guessed")
    (event,) = [event for event in await door.state.audit.list() if event.event == "kubectl.refused"]
    assert event.detail["reason"] == "the token of another sign-in or target"
    assert list(door.recordings.rglob("*.cast")) == []


async def test_a_revoked_person_is_cut_off_in_the_middle_of_a_watch_and_asks_in_vain(
    door: Door, cluster: ScriptedCluster
) -> None:
    async def watch(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc\n\r\n")
        await reader.read()

    cluster.answer = watch
    async with door.connected() as (reader, writer):
        writer.write(head_of("GET", f"{PODS}?watch=1"))
        await reader.readuntil(b"abc\n")
        await door.withdraw()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
    code, message = status(await door.ask(PODS))
    assert code == 401
    assert "revoked" in message
    _, answered = happened(await door.recorded())
    assert answered.facts["note"] == "cut off"


async def test_a_client_that_leaves_ends_what_it_asked_for(door: Door, cluster: ScriptedCluster) -> None:
    async def watch(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc\n\r\n")
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")

    cluster.answer = watch
    async with door.connected() as (reader, writer):
        writer.write(head_of("GET", f"{PODS}?watch=1"))
        await reader.readuntil(b"abc\n")
    await asyncio.wait_for(cluster.gone.wait(), 10)
    assert happened(await door.recorded())[1].facts["note"] == "the client left"


@pytest.mark.parametrize(
    "answered",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf of it",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf of it",
    ],
)
async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(
    door: Door, cluster: ScriptedCluster, answered: bytes
) -> None:
    async def half(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answered)
        await writer.drain()
        raise ConnectionResetError

    cluster.answer = half
    async with door.connected() as (reader, writer):
        writer.write(head_of("GET", PODS))
        received = b""
        with suppress(ConnectionError):
            while piece := await asyncio.wait_for(reader.read(100), 10):
                received += piece
    assert received.endswith((b"half of it", b"half of it\r\n", b"\r\n\r\n"))
    assert happened(await door.recorded())[1].facts["note"]


@pytest.mark.parametrize(
    "answered", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b""]
)
async def test_a_cluster_that_speaks_nonsense_or_nothing_is_told_of(
    door: Door, cluster: ScriptedCluster, answered: bytes
) -> None:
    async def nonsense(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answered)
        await writer.drain()
        raise ConnectionResetError

    cluster.answer = nonsense
    assert status(await door.ask(PODS))[0] == 502


async def test_of_two_lengths_that_a_cluster_gives_the_client_sees_the_one_that_counts(
    door: Door, cluster: ScriptedCluster
) -> None:
    async def two(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )

    cluster.answer = two
    answer = await door.ask(PODS, "Connection: close")
    assert b"content-length" not in answer.lower()
    assert answer.endswith(b"\r\n2\r\n{}\r\n0\r\n\r\n")


async def test_a_state_that_cannot_be_read_lets_nothing_pass_and_ends_no_other_connection(
    door: Door, cluster: ScriptedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(serial: int) -> str | None:
        raise StateError("The state database failed.")

    cluster.answer = ok
    with monkeypatch.context() as patch:
        patch.setattr(door.standing, "problem", broken)
        assert status(await door.ask(PODS))[0] == 500
    assert cluster.heads == []
    assert (await door.ask(PODS, "Connection: close")).startswith(b"HTTP/1.1 200")


async def test_a_cluster_with_a_certificate_for_another_name_is_never_asked(
    door: Door, cluster: ScriptedCluster
) -> None:
    kubeconfig = door.config.targets[0].private_files[0]
    kubeconfig.write_text(kubeconfig.read_text().replace(cluster.name, "another"))
    code, message = status(await door.ask(PODS))
    assert code == 502
    assert "does not prove" in message
    assert cluster.heads == []


async def test_a_cluster_that_refuses_the_bastion_is_not_taken_to_refuse_the_person(
    door: Door, cluster: ScriptedCluster
) -> None:
    async def unauthorized(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")

    cluster.answer = unauthorized
    answer = await door.ask(PODS)
    assert status(answer)[0] == 502
    assert b"authenticate" not in answer.lower()


async def test_what_cannot_be_recorded_is_not_asked(
    door: Door, cluster: ScriptedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: Recording, events: Sequence[Event]) -> None:
        raise RecordingFailed("the disk for recordings is full")

    cluster.answer = ok
    monkeypatch.setattr(Recording, "append", full)
    code, message = status(await door.ask(PODS))
    assert code == 500
    assert "the disk for recordings is full" in message
    assert cluster.heads == []


async def test_a_large_answer_waits_for_a_slow_reader(door: Door, cluster: ScriptedCluster) -> None:
    total, sent = 64 * 1024 * 1024, 0

    async def large(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent < total:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    cluster.answer = large
    async with door.connected() as (reader, writer):
        writer.write(head_of("GET", PODS))
        await reader.readuntil(b"\r\n\r\n")
        before = -1
        while sent != before:  # until nobody takes more
            before = sent
            await asyncio.sleep(0.2)
        assert sent < total / 2
        received = 0
        while received < total:
            received += len(await asyncio.wait_for(reader.read(1 << 20), 10))
        assert received == total


async def test_requests_of_one_ssh_connection_are_one_session_and_are_drawn_for_who_replays_it(
    door: Door, cluster: ScriptedCluster
) -> None:
    cluster.answer = ok
    for target in (PODS, f"{PODS}/api-1", "/version"):
        await door.ask(target, "Connection: close")
    await door.ask(f"{PODS}/api-1", "Connection: close", method="DELETE")
    events = await door.recorded()
    drawn = b"".join(event.data for event in events if isinstance(event, Output)).decode()
    assert re.findall(r"(?m)^(.+?)  200  2 B", drawn) == [
        "list pods -n shop", "get pods api-1 -n shop", "get /version", "delete pods api-1 -n shop",
    ]  # fmt: skip


async def test_a_session_ends_a_while_after_its_last_request(
    door: Door, cluster: ScriptedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "LINGER", 0.1)
    cluster.answer = ok
    await door.ask(PODS, "Connection: close")
    assert await door.admission.live.wait_idle(10)
    await door.ask(PODS, "Connection: close")
    assert len(list(door.recordings.rglob("*.cast"))) == 2


async def test_a_server_that_waits_for_its_last_sessions_does_not_wait_for_one_in_which_nothing_is_asked(
    door: Door, cluster: ScriptedCluster
) -> None:
    cluster.answer = ok
    await door.ask(PODS, "Connection: close")
    door.admission.close()
    assert await door.admission.live.wait_idle(10)
    assert status(await door.ask(PODS)) == (
        403, "bastion: the bastion is being stopped\nTry again in a moment.",
    )  # fmt: skip


async def test_a_session_that_has_lasted_long_enough_is_announced_and_cut_off_and_another_one_may_begin(
    door: Door, cluster: ScriptedCluster
) -> None:
    async def answered(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"watch=1" not in head:
            return await ok(head, reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc\n\r\n")
        await writer.drain()
        await reader.read()
        return None

    cluster.answer = answered
    limits = door.config.sessions.model_copy(update={"max_duration": timedelta(seconds=1)})
    door.config = door.config.model_copy(update={"sessions": limits})
    async with door.connected() as (reader, writer):
        writer.write(head_of("GET", f"{PODS}?watch=1"))
        await reader.readuntil(b"abc\n")
        warned = b""
        while b"Warning: 299" not in warned:
            warned = await door.ask(PODS, "Connection: close")
        with suppress(ConnectionError):
            assert b"0\r\n\r\n" not in await asyncio.wait_for(reader.read(), 10)
    assert b"this session reaches its longest duration" in warned
    assert (await door.ask(PODS, "Connection: close")).startswith(b"HTTP/1.1 200")
    assert len(list(door.recordings.rglob("*.cast"))) == 2
