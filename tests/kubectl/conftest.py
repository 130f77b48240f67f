"""A person's way to a cluster without SSH around it: real state, real recordings, real TLS, on a port of its own."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bastion.ca.authorities import Authorities
from bastion.ca.keys import generate, load_tls_signer
from bastion.ca.tls import TlsAuthority
from bastion.config.load import load
from bastion.config.model import Config
from bastion.config.targets import KubernetesTarget
from bastion.connectors.connect import Connectors
from bastion.identity.person import Person
from bastion.kubectl.access import Access
from bastion.kubectl.kubeconfig import token_digest
from bastion.ops.init import Answers, initialise
from bastion.sessions.admission import Admission
from bastion.sessions.session import Client, LiveSessions
from bastion.sessions.standing import Standing, end_withdrawn_sessions
from bastion.state.store import State
from recorder.events import Event
from recorder.keys import SigningKey
from recorder.reader import open_recording
from recorder.store import Store
from tests.kubectl.channel import SocketChannel
from tests.state.samples import a_grant

TOKEN = "the-token-of-alice"
POLICY = """
[[targets]]
kind = "kubernetes"
name = "prod-k8s"
kubeconfig = "cluster.kubeconfig"
connect_timeout = "2s"

[[policy.rules]]
name = "sre"
groups = ["sre"]
targets = ["prod-k8s"]
logins = ["{user}"]
kubernetes = { verbs = ["*"] }
"""

Answering = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class ScriptedCluster:
    """A server that answers each request head as a test says: for what no API server does, and hostile ones do."""

    name: str = "scripted"
    answer: Answering | None = None
    heads: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                assert self.answer is not None
                await self.answer(head, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()


@dataclass(slots=True)
class Door:
    """The way in: send it bytes in TLS, and read what comes back."""

    config: Config
    state: State
    admission: Admission
    standing: Standing
    recordings: Path
    root: str
    person: Person
    lost: asyncio.Event
    port: int = 0

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        context = ssl.create_default_context(cadata=self.root)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname="prod-k8s"
        )
        try:
            yield reader, writer
        finally:
            writer.close()

    async def ask(
        self, target: str, *headers: str, method: str = "GET", body: bytes = b"", token: str = TOKEN
    ) -> bytes:
        """All that is answered to one request."""
        async with self.connected() as (reader, writer):
            writer.write(head_of(method, target, *headers, token=token) + body)
            await writer.drain()
            return await asyncio.wait_for(reader.read(), 10)

    async def withdraw(self) -> None:
        """Revoke the sign-in, and act on it as the server does."""
        await self.state.grants.revoke(self.person.serial, by="ops", reason="left")
        await end_withdrawn_sessions(self.standing, self.admission.live)

    async def recorded(self) -> list[Event]:
        """What is in the newest recording, once its session is over."""
        self.lost.set()
        assert await self.admission.live.wait_idle(10)
        newest = max(self.recordings.rglob("*.cast"), key=lambda path: path.stat().st_mtime_ns)
        with open_recording(newest) as recording:
            return [entry.event for entry in recording]


def head_of(method: str, target: str, *headers: str, token: str = TOKEN) -> bytes:
    """A request up to its body."""
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: prod-k8s",
        f"Authorization: Bearer {token}",
        *headers,
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


@pytest.fixture
def authority(tmp_path: Path) -> TlsAuthority:
    """Who vouches for servers of a test."""
    key = generate(tmp_path, "tls", time.time())
    return TlsAuthority(load_tls_signer(tmp_path, key), [], time.time)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ScriptedCluster]:
    """The cluster prod-k8s, and a kubeconfig with the bastion's credential for it."""
    cluster = ScriptedCluster()
    folder = tmp_path / "cluster"
    folder.mkdir()
    key = generate(folder, "tls", time.time())
    authority = TlsAuthority(load_tls_signer(folder, key), [], time.time)
    server = await asyncio.start_server(
        cluster.serve, "127.0.0.1", 0, ssl=authority.server_context([cluster.name])
    )
    port = server.sockets[0].getsockname()[1]
    (folder / "ca.crt").write_text(authority.root)
    settings = {
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": f"https://127.0.0.1:{port}",
                    "tls-server-name": cluster.name,
                    "certificate-authority": str(folder / "ca.crt"),
                },
            }
        ],
        "users": [{"name": "u", "user": {"token": "the-bastion's-own"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    kubeconfig = tmp_path / "cluster.kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_text(json.dumps(settings))
    async with server:
        yield cluster


@pytest.fixture
async def door(tmp_path: Path, cluster: ScriptedCluster) -> AsyncIterator[Door]:
    """The way of alice to prod-k8s."""
    file = tmp_path / "bastion.toml"
    await initialise(
        file, Answers(data=tmp_path / "data", public_name="bastion.example", port=2222), now=time.time
    )
    file.write_text(file.read_text() + POLICY)
    config = load(file)
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    async with (
        await State.open(config.state_file) as state,
        _opened(config) as store,
    ):
        live = LiveSessions()
        standing = Standing(state, time.time)
        admission = Admission(
            config=lambda: made.config, state=state, standing=standing, store=store, live=live, now=time.time
        )
        authorities = await Authorities.open(
            config.keys_folder, state, config.certificates, config.server.public_name, time.time
        )
        grant = a_grant(now=time.time(), groups=("sre", "größe"))
        await state.grants.insert(grant)
        person = Person(
            user=grant.user, issuer=grant.issuer, subject=grant.subject, groups=grant.groups, serial=grant.serial,
            expires_at=grant.valid_before, method=grant.method,
        )  # fmt: skip
        await state.kubeconfigs.add(
            token_digest(TOKEN), serial=grant.serial, target="prod-k8s", expires_at=grant.valid_before
        )

        @dataclass
        class Services:
            config: Callable[[], Config]
            state: State
            authorities: Authorities
            connectors: Connectors
            admission: Admission
            standing: Standing

        target = config.target("prod-k8s")
        assert isinstance(target, KubernetesTarget)
        lost = asyncio.Event()
        access = Access(
            Services(
                lambda: made.config,
                state,
                authorities,
                Connectors(authorities=authorities, config=lambda: config),
                admission,
                standing,
            ),
            person=person,
            client=Client(address="192.0.2.7", port=50000),
            target=target,
            serve=lambda work: tasks.add(loop.create_task(work)),
            lost=lost,
        )
        server = await loop.create_server(lambda: SocketChannel(access.answer, tasks), "127.0.0.1", 0)
        made = Door(
            config=config, state=state, admission=admission, standing=standing, recordings=store.folder,
            root=authorities.tls.root, person=person, lost=lost, port=server.sockets[0].getsockname()[1],
        )  # fmt: skip
        async with server:
            yield made
        lost.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)


@asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[Store]:
    store = await Store.open(
        config.recordings_folder,
        key=SigningKey.load(config.recorder_key_file),
        is_searchable=False,
        now=time.time,
    )
    try:
        yield store
    finally:
        await store.close()
