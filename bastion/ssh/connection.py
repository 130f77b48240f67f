"""One client connection: who it is, and what it may ask for.

asyncssh calls back; these callbacks only translate. One supervised task owns a TaskGroup for the channels of the
connection (`served.py`), and ends when the connection is lost and they have. Route and recording belong to a channel,
never to the connection: two channels of a multiplexed connection may go to two targets, each with its own decision.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Sequence

import asyncssh
import structlog
from asyncssh.constants import DISC_NO_MORE_AUTH_METHODS_AVAILABLE

from bastion.config.targets import SshTarget
from bastion.errors import BastionError, StateError
from bastion.identity.person import Person
from bastion.sessions.session import Client
from bastion.ssh.arrivals import Arrival
from bastion.ssh.certificates import Accepted, Rejected, judge
from bastion.ssh.forwards import Through
from bastion.ssh.front import Front
from bastion.ssh.route import split_name
from bastion.ssh.served import ServedConnection, prohibited
from bastion.ssh.sign_in import DeviceSignIn
from bastion.ssh.streams import open_stream
from bastion.transport.hooks import CertificateFacts, is_weak
from policy.forwarding import End

log = structlog.get_logger()

LOGIN_USER = "login"
"""The SSH user name under which any key may ask for a certificate, and nothing else."""

_KEEPALIVE = 10.0
"""Seconds between packets that keep NATs open while a person signs in."""

_SILENCE = 20.0
"""Seconds in which a client must have begun the key exchange; then a person may take their time over the host key."""


class Connection(ServedConnection):
    """The server side of one client connection (an `Owner` for the transport)."""

    def __init__(self, front: Front) -> None:
        super().__init__(front)
        self._certified: dict[int, Person] = {}
        self._certificate_problem: Rejected | None = None
        self._sign_in: DeviceSignIn | None = None
        self._signed_in: Person | None = None
        self._arrival: Arrival | None = None
        self._was_silent = False
        self._patience: asyncio.TimerHandle | None = None

    # The connection as a whole

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        super().connection_made(conn)
        peer = conn.get_extra_info("peername")
        if peer is None:  # gone before it was accepted, as port scanners go
            conn.abort()
            return
        self.client = Client(address=peer[0], port=peer[1])
        arrival = self._front.arrivals.admit(peer[0], self._give_way)
        if isinstance(arrival, str):
            if (unsaid := self._front.refusals.is_news(peer[0])) is not None:
                log.warning("connection.refused", client=str(self.client), reason=arrival, unsaid=unsaid)
            conn.abort()
            return
        self._arrival = arrival
        self._patience = asyncio.get_running_loop().call_later(_SILENCE, self._end_silence)
        self._front.supervisor.spawn(self.live(), name=f"connection {self.client}")

    def auth_completed(self) -> None:
        if self._arrival is not None:
            self._arrival.signed_in()
            self._arrival = None
        version = self._conn.get_extra_info("client_version", "")
        self.client = dataclasses.replace(self.client, version=version)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        if self._arrival is not None:
            self._arrival.left(failures=self._conn.failures, silent=self._was_silent)
            self._arrival = None
        if self._sign_in is not None:
            self._sign_in.close()
        super().connection_lost(exc)

    def _give_way(self) -> None:
        log.warning("connection.gave-way", client=str(self.client), reason="too many have not signed in yet")
        self._conn.abort()

    def _end_silence(self) -> None:
        if self._arrival is not None and not self._conn.has_begun:
            self._was_silent = True
            self._conn.abort()

    # Who is it?

    def begin_auth(self, username: str) -> bool:
        # Synchronous on purpose: while an async begin_auth awaits, asyncssh piles up whatever the client sends.
        self.username = username
        self._signed_in = None
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def certificate_offered(self, certificate: CertificateFacts) -> str | None:
        """The principal a good certificate must name, or None; see `certificates`."""
        front = self._front
        try:
            verdict = await judge(certificate, front.state, front.authorities, front.now())
        except StateError as error:
            log.error("sign-in.not-judged", client=str(self.client), reason=error.message, hint=error.hint)
            self._give_up("nobody can be let in at the moment; tell the people who run this bastion")
            return None
        if isinstance(verdict, Accepted):
            self._certified[certificate.serial] = verdict.person
            return verdict.person.user
        if self._certificate_problem is None or (verdict.ours and not self._certificate_problem.ours):
            self._certificate_problem = verdict
            await self._refused_certificate(certificate, verdict)
        return None

    async def _refused_certificate(self, certificate: CertificateFacts, verdict: Rejected) -> None:
        if verdict.ours:  # others are left unmentioned: an agent may hold certificates for all the world
            self._conn.send_auth_banner(f"bastion: your certificate is not accepted: {verdict.reason}\r\n")
        await self._front.state.audit.record(
            "sign-in.certificate-refused",
            client=str(self.client),
            key_id=certificate.key_id,
            serial=f"{certificate.serial:016x}",
            reason=verdict.reason,
        )

    def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._front.authorities.trusts_user_ca(key.public_data)

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        # A bare key never says who somebody is. For `login` it is only the key the certificate will be for.
        return username == LOGIN_USER and not is_weak(key)

    def kbdint_auth_supported(self) -> bool:
        return True

    async def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, tuple[()]] | bool:
        if username == LOGIN_USER:
            return self._give_up(
                "a certificate is made for a key, and your client offered none it holds. "
                "Make one with ssh-keygen -t ed25519, or name one with ssh -i."
            )
        if self._certificate_problem is not None and self._certificate_problem.is_final:
            return self._give_up(self._certificate_problem.reason)
        if self._sign_in is not None:  # begun anew by the client: the code it was shown waits for nobody
            self._sign_in.close()
        try:
            self._sign_in = await DeviceSignIn.start(self._front, self.client)
        except BastionError as error:
            return self._give_up(str(error))
        text = self._sign_in.text(problem=self._certificate_problem)
        return "", text, "", ()

    async def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        if self._sign_in is None:
            return False
        async with asyncio.TaskGroup() as group:
            keepalive = group.create_task(self._keep_alive())
            result = await self._finish_sign_in(self._sign_in)
            keepalive.cancel()
        if isinstance(result, BastionError):
            return self._give_up(str(result))
        self._signed_in = result
        return True

    async def _finish_sign_in(self, sign_in: DeviceSignIn) -> Person | BastionError:
        try:
            return await sign_in.finish()
        except BastionError as error:
            return error

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_KEEPALIVE)
            self._conn.send_debug("waiting for the sign-in")

    def _give_up(self, message: str) -> bool:
        # OpenSSH would try again at once, with another code for the person to be confused by: end it here.
        log.info("sign-in.failed", client=str(self.client), reason=message)
        self._conn.send_auth_banner("".join(f"bastion: {line}\r\n" for line in message.splitlines()))
        self._conn.disconnect(DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "sign-in failed")
        return False

    @property
    def person(self) -> Person | None:
        proof = self._conn.proof
        if proof is None:
            return None
        if proof.certificate is not None:
            return self._certified[proof.certificate.serial]
        return self._signed_in if proof.method == "keyboard-interactive" else None

    @property
    def proven_key(self) -> asyncssh.SSHKey | None:
        return self._conn.proof.key if self._conn.proof is not None else None

    # Through to a target

    def through(self, person: Person) -> Through | None:
        login, name, path = split_name(self.username)
        target = None if path else self._front.admission.visible(person, name)
        return Through(target, login) if isinstance(target, SshTarget) else None

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> tuple[asyncssh.SSHTCPChannel[bytes], Awaitable[asyncssh.SSHTCPSession[bytes]]]:
        return self._conn.tcp_channel(), self._stream(
            End(host=dest_host, port=dest_port), (orig_host, orig_port)
        )

    async def _stream(self, end: End, origin: tuple[str, int]) -> asyncssh.SSHTCPSession[bytes]:
        try:
            return await open_stream(self._front, self, end, origin)
        except BastionError as error:
            log.error("connection.failed", client=str(self.client), reason=error.message)
            raise prohibited("the bastion cannot answer for this target now") from error
