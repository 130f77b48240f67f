"""Port-forward: carried as it is, recorded as it is, for those whose rules name it."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

from websockets.utils import accept_key

from recorder.events import Input, Output
from recorder.reader import open_recording
from tests.kubectl.conftest import TOKEN, Door, ScriptedCluster, head_of
from tests.kubectl.test_access import PODS, ok, status
from tests.kubernetes.api import resource_list

SPDY = ("Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Stream-Protocol-Version: portforward.k8s.io")
KNOWN = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": resource_list("", "v1"),
    f"{PODS}/api-1": {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "api-1", "namespace": "shop"},
        "spec": {"containers": [{"name": "app", "image": "x"}]},
        "status": {"phase": "Running"},
    },
}


def grant(door: Door) -> None:
    """Let alice forward ports."""
    (rule,) = door.config.policy.rules
    assert rule.kubernetes is not None
    terms = rule.kubernetes.model_copy(update={"resources": ("*", "pods/portforward")})
    rules = (rule.model_copy(update={"kubernetes": terms}),)
    policy = door.config.policy.model_copy(update={"rules": rules})
    door.config = door.config.model_copy(update={"policy": policy})


async def listening(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A cluster with a pod, that agrees to forward its ports and says nothing more."""
    if b"/portforward" not in head:
        path = head.split()[1].partition(b"?")[0].decode()
        body = json.dumps(KNOWN[path]).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )
        return
    upgrade = re.search(rb"(?im)^upgrade: (\S+)", head)
    assert upgrade is not None
    agreed = [b"HTTP/1.1 101 Switching Protocols", b"Connection: Upgrade", b"Upgrade: " + upgrade[1]]
    if key := re.search(rb"(?im)^sec-websocket-key: (\S+)", head):
        agreed.append(b"Sec-WebSocket-Accept: " + accept_key(key[1].decode()).encode())
        agreed.append(b"Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io")
    else:
        agreed.append(b"X-Stream-Protocol-Version: portforward.k8s.io")
    writer.write(b"\r\n".join([*agreed, b"", b""]))
    await writer.drain()
    if b"SPDY" in upgrade[1]:
        return
    while await reader.read(65536):
        pass
    raise ConnectionResetError


async def shouting(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same, but says all of what it hears in capitals."""
    await listening(head, reader, writer)
    writer.write(b"hello ")
    while data := await reader.read(65536):
        writer.write(data.upper())
        await writer.drain()
    raise ConnectionResetError


def recording_of(door: Door) -> Path:
    (path,) = [path for path in door.recordings.rglob("*.cast") if b'"port-forward"' in path.read_bytes()]
    return path


async def test_what_passes_is_carried_and_recorded_byte_by_byte(door: Door, cluster: ScriptedCluster) -> None:
    grant(door)
    cluster.answer = shouting
    async with door.connected() as (reader, writer):
        writer.write(
            head_of("POST", f"{PODS}/api-1/portforward", *SPDY, "Content-Length: 0") + b"early \x00\xff"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert b"x-stream-protocol-version: portforward.k8s.io" in head.lower()
        assert await reader.readexactly(14) == b"hello EARLY \x00\xff"
        writer.write(b" late")
        assert await reader.readexactly(5) == b" LATE"
    await door.recorded()
    with open_recording(recording_of(door)) as recording:
        facts, events = recording.header.facts, [entry.event for entry in recording]
    assert (facts["user"], facts["path"], facts["action"]) == ("alice", "shop/api-1", "connect")
    assert b"".join(e.data for e in events if isinstance(e, Input)) == b"early \x00\xff late"
    assert b"".join(e.data for e in events if isinstance(e, Output)) == b"hello EARLY \x00\xff LATE"


async def test_a_rule_must_name_it(door: Door, cluster: ScriptedCluster) -> None:
    cluster.answer = shouting
    assert status(await door.ask(f"{PODS}/api-1/portforward", *SPDY, method="POST"))[0] == 403
    assert cluster.heads == []


async def test_a_cluster_that_refuses_is_heard(door: Door, cluster: ScriptedCluster) -> None:
    grant(door)
    cluster.answer = ok
    code, message = status(await door.ask(f"{PODS}/api-1/portforward", *SPDY, method="POST"))
    assert (code, "prod-k8s refused" in message) == (403, True)


async def test_kubectl_agrees_with_the_cluster_and_forwards(
    door: Door, cluster: ScriptedCluster, tmp_path: Path
) -> None:
    """As far as a cluster goes that does not speak SPDY: kubectl listens, and its first frames arrive."""
    grant(door)
    cluster.answer = listening
    (tmp_path / "ca.crt").write_text(door.root)
    kubectl = await asyncio.create_subprocess_exec(
        "kubectl", "--server", f"https://127.0.0.1:{door.port}", "--tls-server-name", "prod-k8s", "--token", TOKEN,
        "--certificate-authority", str(tmp_path / "ca.crt"), "-n", "shop", "port-forward", "pod/api-1", ":80",
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "HOME": str(tmp_path), "KUBECONFIG": ""},
    )  # fmt: skip
    assert kubectl.stdout is not None
    try:
        line = await asyncio.wait_for(kubectl.stdout.readline(), 15)
        found = re.match(rb"Forwarding from 127\.0\.0\.1:(\d+) -> 80", line)
        assert found is not None, line
        _, writer = await asyncio.open_connection("127.0.0.1", int(found[1]))
        async with asyncio.timeout(10):
            while not _has_input(door):
                await asyncio.sleep(0.02)
        writer.close()
    finally:
        kubectl.terminate()
        await kubectl.wait()


def _has_input(door: Door) -> bool:
    with open_recording(recording_of(door)) as recording:
        return any(isinstance(entry.event, Input) for entry in recording)
