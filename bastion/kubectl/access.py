"""One person's way to one cluster over one SSH connection: each channel a TLS connection, each request asked about.

A request is answered in this order, and what fails a step is refused with a Status that says why:

1. The person's sign-in still stands.
2. The token is one that this very sign-in was given for this cluster.
3. The headers say nothing that only the bastion may say, and method and path mean one thing alone.
4. The session is admitted: policy lets this person connect, and its recording is open.
5. It is on record, refused or not. Only then anything comes of it.
6. The rules allow this verb on this resource in this namespace. Only then the cluster is asked.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from bastion.ca.lines import long_name
from bastion.config.targets import KubernetesTarget
from bastion.errors import BastionError, SessionRefused
from bastion.identity.person import Person
from bastion.kubectl.exchange import Exchange, particulars
from bastion.kubectl.headers import bearer_token, refused_header
from bastion.kubectl.http import Conversation, Head, Refused
from bastion.kubectl.kubeconfig import token_digest
from bastion.kubectl.resource import STREAMS, NotUnderstood, understand
from bastion.kubectl.session import ApiSession
from bastion.kubectl.status import Refusal
from bastion.kubectl.streaming import stream, tunnel
from bastion.kubectl.tunnel import PORT_FORWARD, UPGRADES
from bastion.relay.services import Services
from bastion.sessions.admission import facts_of, subject_of
from bastion.sessions.session import Client
from bastion.transport.endpoint import TcpEnd
from bastion.transport.request import SessionRequest
from bastion.transport.tls import TlsEnd
from policy.requests import decide_call
from recorder.errors import RecordingFailed

log = structlog.get_logger()

HANDSHAKE_TIMEOUT = 15.0
"""Seconds that a client has to agree on TLS."""

_SPDY = (
    "SPDY is not spoken here, WebSockets are: use kubectl 1.31 or newer, or set"
    " KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true for 1.29 and 1.30"
)


class Access:
    """The way of *person* to *target*; *serve* runs work for as long as their SSH connection, until it is *lost*."""

    def __init__(
        self,
        services: Services,
        *,
        person: Person,
        client: Client,
        target: KubernetesTarget,
        serve: Callable[[Coroutine[Any, Any, None]], None],
        lost: asyncio.Event,
    ) -> None:
        self._services = services
        self._person = person
        self._client = client
        self.target = target
        self._serve = serve
        self._lost = lost
        self._session: ApiSession | None = None
        self._admitting = asyncio.Lock()
        self._refused_stream: tuple[str, Refusal] | None = None

    async def answer(self, end: TcpEnd) -> None:
        """Serve one channel until the client has gone."""
        with structlog.contextvars.bound_contextvars(client=str(self._client), target=self.target.name):
            tls = TlsEnd(end, self._tls_context())
            try:
                async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                    await tls.handshake()
                await self._converse(tls)
            except (ssl.SSLError, TimeoutError, ConnectionError) as error:
                log.info("kubectl.disconnected", reason=str(error) or type(error).__name__)
                tls.abort()
            else:
                await tls.close()

    def _tls_context(self) -> ssl.SSLContext:
        name = self.target.name
        names = (name, long_name(name, self._services.config().server.public_name))
        return self._services.authorities.tls.server_context(names, ("http/1.1",))

    async def _converse(self, tls: TlsEnd) -> None:
        conversation = Conversation(tls)
        while not conversation.is_over:
            try:
                head = await conversation.head()
                if head is None:
                    return
                await self._respond(conversation, tls, head)
            except Refused as refused:
                await conversation.refuse(refused.refusal, [("Connection", "close")])
                return
            except BastionError as error:
                log.error("kubectl.failed", reason=error.message, hint=error.hint)
                refusal = Refusal(500, "the bastion cannot answer now; tell the people who run it")
                await conversation.refuse(refusal, [("Connection", "close")])
                return

    async def _respond(self, conversation: Conversation, tls: TlsEnd, head: Head) -> None:
        """The steps of the module's docstring."""
        if problem := await self._services.standing.problem(self._person.serial):  # (1)
            raise Refused(Refusal(401, problem))
        await self._check_token(head)  # (2)
        if refusal := refused_header(head):  # (3)
            raise Refused(refusal)
        try:
            request = understand(head.method, head.target)
        except NotUnderstood as error:
            raise Refused(Refusal(400, error.message)) from error
        session = await self._admitted()  # (4)
        body = await conversation.body()
        keeps = self._services.config().recording.request_bodies
        facts = particulars(head, request, body, keeps_bodies=keeps)
        try:
            async with session.recorded(request, facts) as answer:  # (5)
                exchange = Exchange(
                    conversation=conversation,
                    tls=tls,
                    head=head,
                    request=request,
                    body=body,
                    session=session,
                    answer=answer,
                )
                try:
                    await self._answer(exchange)
                except Refused as refused:
                    answer.status, answer.note = refused.refusal.code, refused.refusal.message
                    raise
        except RecordingFailed as failure:
            raise Refused(
                Refusal(500, f"what cannot be recorded is not done: {failure.message}")
            ) from failure

    async def _answer(self, exchange: Exchange) -> None:
        decision = decide_call(  # (6)
            self._services.config().policy.rules,
            subject_of(self._person),
            facts_of(self.target),
            exchange.session.session.login,
            exchange.request.call,
        )
        if not decision.allowed:
            raise Refused(Refusal(403, decision.reason))
        upgrade = exchange.head.get("upgrade").lower()
        if not upgrade:
            await exchange.forward()
        elif exchange.request.kind == PORT_FORWARD and upgrade in UPGRADES:
            await tunnel(exchange, self._services, self._person, self._client, self.target)
        elif exchange.request.kind not in STREAMS:
            raise Refused(Refusal(400, f"{exchange.request.kind} is not carried through the bastion"))
        elif upgrade == "websocket":
            try:
                await stream(exchange, self._services, self._person, self._client)
            except Refused as refused:
                # kubectl tries SPDY next, whatever the reason was: it is this one that its person is to hear.
                self._refused_stream = (exchange.request.target, refused.refusal)
                raise
        elif self._refused_stream is not None and self._refused_stream[0] == exchange.request.target:
            raise Refused(self._refused_stream[1])
        else:
            raise Refused(Refusal(400, _SPDY))

    async def _check_token(self, head: Head) -> None:
        token = bearer_token(head)
        if token is not None and await self._services.state.kubeconfigs.is_for(
            token_digest(token), serial=self._person.serial, target=self.target.name
        ):
            return
        await self._services.state.audit.record(
            "kubectl.refused",
            user=self._person.user,
            client=str(self._client),
            target=self.target.name,
            reason="no token" if token is None else "the token of another sign-in or target",
        )
        raise Refused(
            Refusal(
                401,
                f"this is not the kubeconfig of your sign-in. Get one: ssh BASTION kubeconfig {self.target.name}",
            )
        )

    async def _admitted(self) -> ApiSession:
        """The session that lives, or a new one."""
        services = self._services
        async with self._admitting:
            if self._session is None or self._session.over.is_set():
                try:
                    admitted = await services.admission.admit(
                        person=self._person,
                        client=self._client,
                        target=self.target,
                        login=None,
                        request=SessionRequest(kind="connection"),
                    )
                except SessionRefused as refused:
                    raise Refused(Refusal(403, str(refused))) from refused
                self._session = ApiSession(admitted, self.target, services.admission)
                self._serve(self._session.live(self._lost))
            return self._session
