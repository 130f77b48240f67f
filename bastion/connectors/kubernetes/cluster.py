"""A Kubernetes cluster, opened: asked over verified TLS with the bastion's credential, in one person's name.

All that talks to clusters goes through here, so that who is impersonated and what is shown stands in one place.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpcore2
import httpx2
import websockets.asyncio.client
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from bastion.config.targets import KubernetesTarget
from bastion.connectors.kubernetes.credential import Bearer
from bastion.connectors.kubernetes.impersonation import Impersonated
from bastion.connectors.kubernetes.kubeconfig import Access, access_to
from bastion.connectors.kubernetes.refusals import (
    object_in,
    reason_of,
    refusal,
    silent,
    told_as_errors_of,
    untrusted,
    unusable,
)
from bastion.errors import ConfigError, TargetError
from bastion.sessions.session import AdmittedSession

ANSWER_TIMEOUT = 30.0
"""Seconds that a cluster may take to answer a question of ours."""

LARGEST_ANSWER = 32 * 1024 * 1024
_PIECE = 64 * 1024
LARGEST_MESSAGE = 1024 * 1024
"""Bytes of one message in a WebSocket; a kubelet sends 32 KiB."""
MESSAGES_WAITING = 8
"""Messages that may wait to be read before the cluster is made to wait."""

_KEPT_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""That a cluster is gone TCP notices, within a minute where nothing is under way. Not pings of WebSocket, nor
TCP_USER_TIMEOUT: a server answers and takes nothing while it waits for a program to read its input, as long as that
may take."""

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a cluster, as it comes: not decompressed, not collected."""

    status: int
    headers: Headers
    _response: httpx2.Response
    _name: str

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body. Raises TargetError when it breaks off."""
        with told_as_errors_of(self._name):
            async for piece in self._response.aiter_raw():
                yield piece

    async def read(self, limit: int = LARGEST_ANSWER) -> bytes:
        """The whole body. Raises TargetError, also when it is longer than *limit*."""
        content = bytearray()
        async for piece in self.pieces():
            content += piece
            if len(content) > limit:
                raise TargetError(f"{self._name} answers with more than {limit // (1024 * 1024)} MiB")
        return bytes(content)

    async def receive(self) -> bytes:
        """Some of what comes over a connection that was agreed on (status 101); b"" once nothing more does."""
        try:
            return bytes(await self._response.extensions["network_stream"].read(_PIECE))
        except httpcore2.NetworkError:
            return b""

    async def send(self, data: bytes) -> None:
        """Send over that connection, and wait until there is room for more; one that is gone takes everything."""
        with suppress(httpcore2.NetworkError):
            await self._response.extensions["network_stream"].write(data)


class Cluster:
    """One cluster, asked in the name of *who*; None is the bastion in its own name."""

    def __init__(
        self,
        target: KubernetesTarget,
        access: Access,
        bearer: Bearer,
        tls: ssl.SSLContext,
        who: Impersonated | None,
    ) -> None:
        self.target = target
        self.name = target.name
        self._access = access
        self._bearer = bearer
        self._tls = tls
        self._who = who
        self._patience = target.connect_timeout.total_seconds()
        self._http = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(
                verify=tls,
                trust_env=False,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=4),
                socket_options=list(_KEPT_ALIVE),
            ),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(None, connect=self._patience),
        )

    async def close(self) -> None:
        """Close connections that are kept open."""
        await self._http.aclose()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> AsyncIterator[Answer]:
        """Ask for *target*, a path with its query as it goes over the wire. Raises TargetError when none answers."""
        extensions: dict[str, Any] = {"target": self._raw(target).encode("ascii")}
        if self._access.server_name:
            extensions["sni_hostname"] = self._access.server_name
        request = self._http.build_request(
            method,
            self._access.server,
            headers=[(name.encode(), value.encode()) for name, value in [*headers, *await self._identity()]],
            content=body or None,
            extensions=extensions,
        )
        if not any(name.lower() == "accept-encoding" for name, _ in headers):
            request.headers["Accept-Encoding"] = "identity"
        with told_as_errors_of(self.name):
            response = await self._http.send(request, stream=True)
        try:
            pairs = [
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw
            ]
            yield Answer(status=response.status_code, headers=pairs, _response=response, _name=self.name)
        finally:
            await response.aclose()

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, *, accept: str = "application/json"
    ) -> dict[str, Any]:
        """The object at *path*. Raises ClusterRefused with the cluster's own words, or TargetError."""
        return await self._ask("GET", path_with(path, query), [("Accept", accept)], b"")

    async def create(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Post *content* to *path*, and return what became of it. Raises as `get` does."""
        headers = [("Accept", "application/json"), ("Content-Type", "application/json")]
        return await self._ask("POST", path, headers, json.dumps(content).encode())

    async def _ask(self, method: str, target: str, headers: Headers, body: bytes) -> dict[str, Any]:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT), self.request(method, target, headers, body) as answer:
                content = await answer.read()
                if not 200 <= answer.status < 300:
                    raise refusal(self.name, answer.status, content)
        except TimeoutError:
            raise TargetError(f"{self.name} did not answer within {ANSWER_TIMEOUT:g} seconds") from None
        document = object_in(content)
        if document is None:
            raise TargetError(f"{self.name} did not answer with an object of Kubernetes")
        return document

    async def connect(
        self,
        target: str,
        protocols: Sequence[str],
        headers: Sequence[tuple[str, str]] = (),
    ) -> websockets.asyncio.client.ClientConnection:
        """A WebSocket to *target*, which speaks one of *protocols*. Raises ClusterRefused or TargetError."""
        url = urlsplit(self._access.server)
        try:
            connection = await _Connecting(
                f"wss://{url.netloc}{self._raw(target)}",
                ssl=self._tls,
                server_hostname=self._access.server_name or url.hostname,
                additional_headers=[
                    (name, value.encode().decode("latin-1"))  # which undoes what the library does
                    for name, value in [*headers, *await self._identity()]
                ],
                subprotocols=[Subprotocol(protocol) for protocol in protocols],
                compression=None,
                proxy=None,
                user_agent_header=None,
                open_timeout=self._patience,
                close_timeout=1,
                ping_interval=None,
                max_size=LARGEST_MESSAGE,
                max_queue=MESSAGES_WAITING,
            )
        except InvalidStatus as error:
            raise refusal(self.name, error.response.status_code, bytes(error.response.body or b"")) from None
        except TimeoutError:
            raise silent(self.name, self._patience) from None
        except ssl.SSLError as error:
            raise untrusted(self.name, error) from error
        except (InvalidHandshake, OSError, EOFError) as error:
            raise TargetError(f"{self.name} does not open a stream: {reason_of(error)}") from None
        transport_socket = connection.transport.get_extra_info("socket")
        for option in _KEPT_ALIVE:
            transport_socket.setsockopt(*option)
        return connection

    def _raw(self, target: str) -> str:
        return urlsplit(self._access.server).path + target

    async def _identity(self) -> Headers:
        try:
            token = await self._bearer.token()
        except ConfigError as error:
            unusable(self.target, error)
        shown = [("Authorization", f"Bearer {token.reveal()}")] if token is not None else []
        return shown + (self._who.headers if self._who is not None else [])


class _Connecting(websockets.asyncio.client.connect):
    """Opens a WebSocket where it was told to, and nowhere else: the request has a credential in it."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


@asynccontextmanager
async def open_cluster(
    target: KubernetesTarget, who: Impersonated | None, *, now: Callable[[], float] = time.time
) -> AsyncIterator[Cluster]:
    """*target*, to be asked in the name of *who*. Nothing is sent yet. Raises TargetError."""
    try:
        access = access_to(target)
        bearer = Bearer(source=access.token, plugin=access.plugin, issued=None, now=now)
        context = await _tls(access, bearer)
    except ConfigError as error:
        unusable(target, error)
    cluster = Cluster(target, access, bearer, context, who)
    try:
        yield cluster
    finally:
        await cluster.close()


@asynccontextmanager
async def open_cluster_for(session: AdmittedSession, target: KubernetesTarget) -> AsyncIterator[Cluster]:
    """*target* in the name of the person of *session*, and with its id in the cluster's audit log."""
    who = Impersonated.of(target, session.person, session.login, session.id)
    async with open_cluster(target, who) as cluster:
        yield cluster


def path_with(path: str, query: Mapping[str, str] | Sequence[tuple[str, str]] | None) -> str:
    """*path* with *query* behind it, as it goes over the wire."""
    return f"{path}?{urlencode(query)}" if query else path


def pod_path(namespace: str, pod: str = "", subresource: str = "") -> str:
    """The path of the pods of *namespace*, of one of them, or of something of it; names cannot lead elsewhere."""
    parts = [quote(part, safe="") for part in (namespace, "pods", pod, subresource) if part]
    return f"/api/v1/namespaces/{'/'.join(parts)}"


async def _tls(access: Access, bearer: Bearer) -> ssl.SSLContext:
    """TLS that trusts the CA of the cluster alone, and shows the bastion's certificate if it has one."""
    try:
        context = ssl.create_default_context(cadata=access.ca)
    except ssl.SSLError as error:
        raise ConfigError("the CA certificate of the cluster is not PEM") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate = access.certificate
    if access.plugin is not None:
        await bearer.token()
        assert bearer.issued is not None
        certificate = bearer.issued.certificate or certificate
    if certificate is not None:
        certificate.load_into(context)
    return context
