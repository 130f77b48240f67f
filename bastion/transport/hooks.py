"""The one file that touches asyncssh's private names.

asyncssh is pinned, and `tests/transport/test_canaries.py` has a test for each name used here. What it adds:

- **back-pressure of the socket** (asyncssh ignores `pause_writing` of the transport: a client with a huge window that
  stops reading would grow our memory without bound),
- **windows that hold** (asyncssh gives back a whole window while most of it still waits to be read: behind a slow
  reader memory grew as fast as the sender could send),
- **fewer, larger writes** (asyncssh sends an empty IGNORE before every packet, needed for CBC ciphers only, and
  one write a packet),
- **the proof of identity**: which certificate or key the client proved to hold, which asyncssh does not tell,
- **the cheapest cipher for whoever moves much**: OpenSSH asks for one first that costs three times as much here,
- **limits before sign-in**: bytes, key probes and failed signatures of one connection, channels after it,
- **connections of our own classes**, which `asyncssh.listen` and `connect` cannot make.
"""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, cast

import asyncssh
from asyncssh.channel import (
    SSHAgentChannel,
    SSHClientChannel,
    SSHServerChannel,
    SSHTCPChannel,
    SSHUNIXChannel,
    SSHX11Channel,
)
from asyncssh.connection import (
    SSHClientConnection,
    SSHClientConnectionOptions,
    SSHServerConnection,
    SSHServerConnectionOptions,
)
from asyncssh.constants import DISC_BY_APPLICATION, MSG_CHANNEL_WINDOW_ADJUST, MSG_IGNORE
from asyncssh.packet import SSHPacket, String, UInt32
from asyncssh.public_key import SSHOpenSSHCertificate

from bastion.transport.algorithms import FASTEST_ENCRYPTION, MIN_RSA_BITS, SIGNATURE
from bastion.transport.proxy_protocol import Announced
from bastion.transport.request import SessionRequest, X11Request

WINDOW = 2 * 1024 * 1024
PACKET = 32 * 1024
_SOCKET_HIGH_WATER = 256 * 1024
_UNREAD_LIMIT = 4 * 1024 * 1024
"""Bytes that a peer may leave unread and still be listened to: data stops far below, answers to requests do not."""
_MOST_VARIABLES = 256
_LONGEST_VARIABLE = 8192
_LONGEST_COOKIE = 256
_DEFERRED_LIMIT = 4096
"""Packets that may wait for the end of a key exchange."""
_MUCH = 1024 * 1024
"""Bytes after which a connection is worth a key exchange that moves it to the cheapest cipher."""
_PACKET_COST = 4096
"""Bytes that are as dear to encrypt as it is to begin a packet."""
S = TypeVar("S", bound="asyncssh.SSHClientSession[bytes]")
_EMPTY_IGNORE = (String(b""),)


Visit = Literal["agent", "x11"]
"""What a program on a target may ask for of the client: its agent, or its screen."""

Visitors = Callable[[Visit, tuple[str, int]], Awaitable["asyncssh.SSHTCPSession[bytes]"]]
"""Answers for what a target asks of the client. Raises asyncssh.ChannelOpenError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may do. Probes are offers of keys without a signature: an agent may hold many keys."""

    unauthenticated_bytes: int = 256 * 1024
    probes: int = 40
    failures: int = 6
    channels: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """A user certificate as presented; nothing in it is proven before the signature is. Times in Unix seconds."""

    serial: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    is_user: bool
    authority: asyncssh.SSHKey
    key: asyncssh.SSHKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the client proved when it was let in."""

    username: str
    method: str
    key: asyncssh.SSHKey | None
    certificate: CertificateFacts | None


class Owner(Protocol):
    """What `ServerConnection` asks of the `asyncssh.SSHServer` it belongs to, beside asyncssh's own questions."""

    async def certificate_offered(self, certificate: CertificateFacts) -> str | None:
        """The principal the certificate must be for, or None to refuse it."""


class _Tuned:
    """Mixin for both kinds of connection: back-pressure of the socket, joined writes, no empty IGNORE."""

    _loop: asyncio.AbstractEventLoop
    _transport: asyncio.Transport | None
    _channels: dict[int, Any]
    _kex_complete: bool
    _deferred_packets: list[Any]
    _socket_paused = False
    _joined: list[bytes] | None = None

    # All channels through which connections pass, with flow control of our own

    def create_tcp_channel(self, *_: Any) -> Any:
        return self._passing(_TCPChannel)

    def create_unix_channel(self, *_: Any) -> Any:
        return self._passing(_UnixChannel)

    def create_x11_channel(self, *_: Any) -> Any:
        return self._passing(_X11Channel)

    def create_agent_channel(self, *_: Any) -> Any:
        return self._passing(_AgentChannel)

    def _passing(self, kind: Callable[..., Any]) -> Any:
        cast(Any, self)._update_recv_pktlen(PACKET)
        return kind(self, self._loop, None, "strict", WINDOW, PACKET)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        if hasattr(transport, "set_write_buffer_limits"):
            transport.set_write_buffer_limits(high=_SOCKET_HIGH_WATER)

    def pause_writing(self) -> None:
        self._socket_paused = True

    def resume_writing(self) -> None:
        self._socket_paused = False
        self._flush_channels()

    @property
    def holds_data(self) -> bool:
        """Whether channels must keep their data: the socket is full, or keys are being exchanged.

        asyncssh queues what is sent meanwhile without bound, and a peer may begin a key exchange and not go on.
        """
        return self._socket_paused or not self._kex_complete

    def _send_deferred_packets(self) -> None:
        super()._send_deferred_packets()  # type: ignore[misc]
        self._flush_channels()

    def _flush_channels(self) -> None:
        for channel in list(self._channels.values()):
            if self.holds_data:
                break
            channel._flush_send_buf()

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        # What grows here are answers to a peer that asks and does not read, or does not end its key exchange.
        unread = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if unread > _UNREAD_LIMIT or len(self._deferred_packets) > _DEFERRED_LIMIT:
            cast(Any, self).abort()
            return
        super().data_received(data, datatype)  # type: ignore[misc]

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        if pkttype != MSG_IGNORE or args != _EMPTY_IGNORE:
            super().send_packet(pkttype, *args, handler=handler)  # type: ignore[misc]

    def _send(self, data: bytes) -> None:
        if self._joined is None:
            self._joined = []
            self._loop.call_soon(self._send_joined)
        self._joined.append(data)

    def _send_joined(self) -> None:
        data, self._joined = b"".join(self._joined or ()), None
        if data:
            super()._send(data)  # type: ignore[misc]

    def _force_close(self, exc: Exception | None) -> None:
        self._send_joined()
        super()._force_close(exc)  # type: ignore[misc]


class _HeldChannel:
    """Mixin for channels: keeps data while the connection cannot take more, and keeps what waits to be read in one."""

    _conn: Any

    def _flush_send_buf(self) -> None:
        channel = cast(Any, self)
        connection = channel._conn
        if connection is not None and connection.holds_data and channel._send_state == "open":
            channel._pause_resume_writing()
        else:
            super()._flush_send_buf()  # type: ignore[misc]

    def _accept_data(self, data: bytes, datatype: int | None = None) -> None:
        # asyncssh keeps a list of packets and takes them from its front: a window full of packets of one byte would
        # cost a hundred times its size, and stop the event loop for minutes.
        channel = cast(Any, self)
        waiting = channel._recv_buf
        if (
            channel._recv_paused
            and channel._send_state not in ("close_pending", "closed")
            and waiting
            and waiting[-1][1] == datatype
            and len(waiting[-1][0]) < PACKET
        ):
            channel._recv_window -= len(data)
            waiting[-1] = (waiting[-1][0] + data, datatype)
        else:
            super()._accept_data(data, datatype)  # type: ignore[misc]

    def _deliver_data(self, data: bytes, datatype: int | None) -> None:
        # asyncssh gives back the whole window with the first bytes that are read, whatever still waits: behind a
        # reader that is slower than its peer, what waits would grow by nearly a window each time it reads again.
        channel = cast(Any, self)
        waiting = sum(len(kept) for kept, _ in channel._recv_buf)
        adjust = channel._init_recv_window - channel._recv_window - waiting
        if adjust > channel._init_recv_window / 2:
            channel.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(adjust))
            channel._recv_window += adjust
        window, channel._recv_window = channel._recv_window, channel._init_recv_window
        try:
            super()._deliver_data(data, datatype)  # type: ignore[misc]
        finally:
            channel._recv_window = window


@contextmanager
def sent_at_once(channel: Any) -> Iterator[None]:
    """Send what *channel* is given inside when that is left: by itself it waits for the next turn of the event loop."""
    # A program of ours stands in for a channel; the connection of one may be gone, which get_connection() asserts.
    connection = channel._conn if isinstance(channel, _HeldChannel) else None
    if not isinstance(connection, _Tuned):
        yield
        return
    if connection._joined is None:
        connection._joined = []
    try:
        yield
    finally:
        connection._send_joined()


class _ServerChannel(_HeldChannel, SSHServerChannel):  # type: ignore[type-arg]
    wants_agent = False
    x11: X11Request | None = None

    def _process_auth_agent_req_at_openssh_dot_com_request(self, packet: SSHPacket) -> bool:  # type: ignore[override]
        # Who asks for everything everywhere gets a session all the same; whether there is an agent in it policy says.
        packet.check_end()
        self.wants_agent = True
        return True

    def _process_x11_req_request(self, packet: SSHPacket) -> bool:
        is_single, protocol = packet.get_boolean(), packet.get_string()
        cookie, screen = packet.get_string(), packet.get_uint32()
        packet.check_end()
        if len(protocol) > _LONGEST_COOKIE or len(cookie) > _LONGEST_COOKIE:
            return False
        try:
            cookie = binascii.a2b_hex(cookie)
        except binascii.Error:
            return False
        self.x11 = X11Request(protocol=protocol, cookie=cookie, screen=screen, is_single=is_single)
        return True

    def _process_env_request(self, packet: SSHPacket) -> bool:
        # asyncssh keeps whatever it is sent; most of it is dropped later (see `accepted_environment`).
        if len(self._env) >= _MOST_VARIABLES or len(packet.get_remaining_payload()) > _LONGEST_VARIABLE:
            return False
        return super()._process_env_request(packet)


class _TCPChannel(_HeldChannel, SSHTCPChannel):  # type: ignore[type-arg]
    pass


class _UnixChannel(_HeldChannel, SSHUNIXChannel):  # type: ignore[type-arg]
    pass


class _X11Channel(_HeldChannel, SSHX11Channel):
    pass


class _AgentChannel(_HeldChannel, SSHAgentChannel):
    pass


class _ClientChannel(_HeldChannel, SSHClientChannel):  # type: ignore[type-arg]
    pass


class ServerConnection(_Tuned, SSHServerConnection):
    """A connection of a client to us."""

    proof: Proof | None = None
    limits = Limits()
    _unauthenticated = 0
    _probes = 0
    _failures = 0
    _candidate: tuple[CertificateFacts | None, asyncssh.SSHKey] | None = None
    _proven: tuple[CertificateFacts | None, asyncssh.SSHKey] | None = None
    _moved = 0

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        if not self._auth_complete:
            self._unauthenticated += len(data)
            if self._unauthenticated > self.limits.unauthenticated_bytes:
                self.abort()
                return
        self._count(data)
        super().data_received(data, datatype)

    def _send(self, data: bytes) -> None:
        self._count(data)
        super()._send(data)

    def _count(self, data: bytes) -> None:
        if self._moved < _MUCH:
            self._moved += len(data) + _PACKET_COST
            if self._moved >= _MUCH:
                self._prefer_fastest()

    def _prefer_fastest(self) -> None:
        """Have the keys exchanged anew, for the cipher that is the cheapest here, where the client can do it.

        The client's order decides (RFC 4253, section 7.1), and OpenSSH's begins with ChaCha20, for machines without
        AES in hardware. What other clients make of a key exchange that they did not begin is not tried with them.
        """
        if not self._client_version.startswith(b"SSH-2.0-OpenSSH_") or not self._client_kexinit:
            return
        offer = SSHPacket(self._client_kexinit)
        offer.get_bytes(17)  # the kind of the packet, and a cookie
        offer.get_namelist(), offer.get_namelist()  # key exchanges, host keys
        both_ways = set(offer.get_namelist()) & set(offer.get_namelist())
        fastest = [name for name in map(str.encode, FASTEST_ENCRYPTION) if name in both_ways]
        if fastest and not {self._enc_alg_cs, self._enc_alg_sc} <= set(fastest):
            self._enc_algs = fastest
            self._rekey_bytes_sent = self._rekey_bytes  # with the next packet

    async def _validate_openssh_certificate(
        self, username: str, cert: SSHOpenSSHCertificate
    ) -> asyncssh.SSHKey | None:
        facts = CertificateFacts(
            serial=cert._serial,
            key_id=cert._key_id,
            principals=tuple(cert.principals),
            valid_after=cert._valid_after,
            valid_before=cert._valid_before,
            is_user=cert._cert_type == asyncssh.public_key.CERT_TYPE_USER,
            authority=cert.signing_key,
            key=cert.key,
        )
        principal = await cast(Owner, self._owner).certificate_offered(facts)
        if principal is None or not cert.principals:  # asyncssh takes empty principals for everybody
            return None
        key = await super()._validate_openssh_certificate(principal, cert)
        if key is not None:
            self._candidate = (facts, key)
        return key

    async def _validate_client_public_key(self, username: str, key_data: bytes) -> asyncssh.SSHKey | None:
        key = await super()._validate_client_public_key(username, key_data)
        if key is not None:
            self._candidate = (None, key)
        return key

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        self._candidate = self._proven = None
        if msg and SSHPacket(signature).get_string().decode("ascii", "replace") not in SIGNATURE:
            return False  # asyncssh only advertises signature_algs; a SHA-1 signature would pass
        if not await super().validate_public_key(username, key_data, msg, signature):
            return False
        candidate = cast("tuple[CertificateFacts | None, asyncssh.SSHKey]", self._candidate)
        if is_weak(candidate[1]):
            return False
        if msg:
            self._proven = candidate
        return True

    async def send_userauth_success(self) -> None:
        method = cast(Any, self._auth)._method.decode() if self._auth is not None else "none"
        certificate, key = self._proven if method == "publickey" and self._proven else (None, None)
        self.proof = Proof(username=self._username, method=method, key=key, certificate=certificate)
        await super().send_userauth_success()

    def send_userauth_failure(self, partial_success: bool) -> None:
        if self._auth is not None:
            signed = cast(Any, self._auth)._method != b"publickey" or self._proven is not None
            self._failures += signed
            self._probes += not signed
            if self._failures >= self.limits.failures or self._probes >= self.limits.probes:
                self.disconnect(DISC_BY_APPLICATION, "Too many authentication failures")
                return
        super().send_userauth_failure(partial_success)

    @property
    def has_begun(self) -> bool:
        """Whether the client has begun the key exchange."""
        return bool(self._client_kexinit)

    @property
    def failures(self) -> int:
        """Tries to sign in that failed; the question which ways there are (RFC 4252, "none") is none of them."""
        return max(0, self._failures - 1)

    def add_channel(self, chan: Any) -> int:
        if len(self._channels) >= self.limits.channels:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_RESOURCE_SHORTAGE, "too many channels on one connection"
            )
        return super().add_channel(chan)

    def _get_extra_kex_algs(self) -> list[bytes]:
        # dbclient guesses the key exchange; with this pseudo-algorithm a wrong guess is dropped as RFC 4253 asks.
        return [*super()._get_extra_kex_algs(), b"kexguess2@matt.ucc.asn.au"]

    def check_certificate_permission(self, permission: str) -> bool:
        # Whether anything is forwarded our owner says, each time it is asked for. What a certificate permits is for
        # servers that trust the user CA and know no policy: ours permit a terminal and nothing else.
        return permission == "port-forwarding" or super().check_certificate_permission(permission)

    def tcp_channel(self) -> asyncssh.SSHTCPChannel[bytes]:
        """A channel for a connection that the client asks for."""
        return cast("asyncssh.SSHTCPChannel[bytes]", self.create_tcp_channel())

    def unix_channel(self) -> asyncssh.SSHUNIXChannel[bytes]:
        """A channel for a connection to a socket that the client asks for."""
        return cast("asyncssh.SSHUNIXChannel[bytes]", self.create_unix_channel())

    async def open_back(self, session: Any, kind: Visit, origin: tuple[str, int]) -> None:
        """Open a channel to the client's agent or screen. Raises asyncssh.ChannelOpenError."""
        if kind == "agent":
            await self.create_agent_channel().open(lambda: session)
        else:
            await self.create_x11_channel().open(lambda: session, *origin)

    def session_channel(self) -> asyncssh.SSHServerChannel[bytes]:
        """A channel for a session of raw bytes, without asyncssh's line editor."""
        self._update_recv_pktlen(PACKET)
        return _ServerChannel(self, self._loop, True, False, False, 0, 0, None, "strict", WINDOW, PACKET)


async def nested_connection(
    make_owner: Callable[[], asyncssh.SSHServer],
    host_keys: Sequence[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]],
    limits: Limits,
    **options: Any,
) -> asyncssh.SSHTCPSession[bytes]:
    """A connection that lives inside a channel: it is itself the session of a `tcp_channel`, without any socket."""
    settings = await SSHServerConnectionOptions.construct(
        None, config=None, server_factory=make_owner, server_host_keys=list(host_keys), **options
    )
    connection = ServerConnection(asyncio.get_running_loop(), settings)
    connection.limits = limits
    return cast("asyncssh.SSHTCPSession[bytes]", connection)  # not by its type, but by what it does


class ClientConnection(_Tuned, SSHClientConnection):
    """A connection of ours to a target. *visitors* is whom to ask about channels that the target opens."""

    visitors: Visitors | None = None
    _x11: X11Request | None = None

    def _process_auth_agent_at_openssh_dot_com_open(self, packet: SSHPacket) -> Any:
        packet.check_end()
        return self.create_unix_channel(), self._visit("agent", ("", 0))

    def _process_x11_open(self, packet: SSHPacket) -> Any:
        host, port = packet.get_string().decode("utf-8", "replace"), packet.get_uint32()
        packet.check_end()
        return self.create_x11_channel(), self._visit("x11", (host, port))

    def _visit(self, kind: Visit, origin: tuple[str, int]) -> Any:
        if self.visitors is None:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "nobody asked for it")
        return self.visitors(kind, origin)

    async def attach_x11_listener(self, *_: Any) -> tuple[bytes, bytes, int]:
        # The cookie goes through as it is: it is the client who knows what stands behind it.
        assert self._x11 is not None
        return self._x11.protocol, self._x11.cookie, self._x11.screen

    async def open_channel(self, session: S, request: SessionRequest) -> S:
        """Open a session channel for *request*; its events go to *session*. Raises asyncssh.ChannelOpenError."""
        self._update_recv_pktlen(PACKET)
        channel = _ClientChannel(self, self._loop, "strict", None, "strict", WINDOW, PACKET)
        pty, self._x11 = request.pty, request.x11
        await channel.create(
            lambda: session,
            request.command if request.kind == "exec" else None,
            request.command if request.kind == "subsystem" else None,
            dict(request.environment),
            pty is not None,
            pty.terminal if pty else None,
            (pty.columns, pty.rows, pty.pixel_width, pty.pixel_height) if pty else (0, 0, 0, 0),
            dict(pty.modes) if pty else {},
            "ignore_failure" if request.x11 is not None else False,
            None,
            None,
            request.x11 is not None and request.x11.is_single,
            request.agent,
        )
        return session


class Listener:
    """Listens for clients. *make_owner* makes the `SSHServer` (and `Owner`) of each connection.

    *proxies* are the networks of load balancers that speak the PROXY protocol. *options* are asyncssh's server
    options; `present` changes the host keys for connections from then on.
    """

    def __init__(
        self,
        make_owner: Callable[[], asyncssh.SSHServer],
        proxies: Callable[[], Sequence[str]] = tuple,
        **options: Any,
    ) -> None:
        self._proxies = proxies
        self._options = {"config": None, "server_factory": make_owner, **options}
        self._settings: SSHServerConnectionOptions | None = None
        self._server: asyncio.Server | None = None

    async def present(self, host_keys: Sequence[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]]) -> None:
        """Present these host keys, with their certificates to clients that ask for them."""
        self._settings = await SSHServerConnectionOptions.construct(
            None, server_host_keys=list(host_keys), **self._options
        )

    async def start(self, address: str, port: int) -> int:
        """Accept connections, on every address if *address* is empty; returns the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Announced(
                lambda: ServerConnection(loop, cast(SSHServerConnectionOptions, self._settings)),
                self._proxies,
            ),
            address or None,
            port,
            backlog=256,
            reuse_address=True,
        )
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Accept no more; connections that are there stay."""
        if self._server is not None:
            self._server.close()


async def connect(
    make_owner: Callable[[], asyncssh.SSHClient], host: str, port: int, **options: Any
) -> ClientConnection:
    """Connect and sign in to a target. Raises OSError and asyncssh.Error; bound it in time from outside."""
    loop = asyncio.get_running_loop()
    settings = await SSHClientConnectionOptions.construct(
        None, config=None, host=host, port=port, client_factory=make_owner, **options
    )
    settings.waiter = loop.create_future()
    _, connection = await loop.create_connection(
        lambda: ClientConnection(loop, settings, wait="auth"), host, port
    )
    connection.set_extra_info(host=host, port=port)
    try:
        await settings.waiter
    except BaseException:
        connection.abort()
        await connection.wait_closed()
        raise
    return connection


def is_weak(key: asyncssh.SSHKey) -> bool:
    """Whether we refuse *key* for its kind or size."""
    if key.algorithm == b"ssh-rsa":
        return cast(Any, key).pyca_key.key_size < MIN_RSA_BITS  # type: ignore[no-any-return]
    return key.algorithm == b"ssh-dss"
