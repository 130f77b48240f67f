"""Streams of a person's own kubectl: each a session of its own, through the corridor that all sessions take.

So it is admitted, recorded byte by byte before anything passes, bounded and ended like a shell over ssh. The cluster is
asked before the client is told that its WebSocket is open: what the cluster refuses, the client hears as HTTP.
"""

from __future__ import annotations

import asyncio

from bastion.config.targets import KubernetesTarget
from bastion.connectors.kubernetes.channels import V4, V5
from bastion.errors import SessionRefused
from bastion.identity.person import Person
from bastion.kubectl.exchange import Exchange
from bastion.kubectl.http import Refused
from bastion.kubectl.session import ApiSession
from bastion.kubectl.status import Refusal
from bastion.kubectl.stream import StreamEnd
from bastion.kubectl.tunnel import REQUEST, TunnelEnd, TunnelOpener
from bastion.kubectl.upgrade import streams_of
from bastion.kubectl.websocket import Opening, handshake_problem, offered
from bastion.relay.client import ClientSide
from bastion.relay.run import Opener, run_session
from bastion.relay.services import Services
from bastion.sessions.session import AdmittedSession, Client, Outcome
from bastion.transport.request import SessionRequest

FINISH_TIMEOUT = 30.0
"""Seconds that a client has to take the last of its output, and how the program ended."""


async def stream(exchange: Exchange, services: Services, person: Person, client: Client) -> None:
    """Run the exec or attach that *exchange* asks for. Raises Refused."""
    streams = streams_of(exchange.request)
    opening = _opening(exchange, streams.session)
    session = await _admitted(exchange, services, person, client, opening.request, streams.path)
    end = StreamEnd(opening)
    outcome = await _run(exchange, services, session, end, services.connectors)
    if not end.is_open:
        raise Refused(Refusal(403, outcome.message or outcome.ending))
    try:
        async with asyncio.timeout(FINISH_TIMEOUT):
            await end.finish(outcome)
    except TimeoutError:
        end.abort()


async def tunnel(
    exchange: Exchange, services: Services, person: Person, client: Client, target: KubernetesTarget
) -> None:
    """Run the port-forward that *exchange* asks for. Raises Refused."""
    path = f"{exchange.request.namespace}/{exchange.request.name}"
    session = await _admitted(exchange, services, person, client, REQUEST, path)
    opener = TunnelOpener(target, exchange.head)
    end = TunnelEnd(exchange.conversation, exchange.tls, opener, exchange.session.touch)
    outcome = await _run(exchange, services, session, end, opener)
    if not end.is_open:
        raise Refused(Refusal(403, outcome.message or outcome.ending))


async def _admitted(
    exchange: Exchange, services: Services, person: Person, client: Client, request: SessionRequest, path: str
) -> AdmittedSession:
    """The session of *request*, in the pod of *path*."""
    around = exchange.session.session
    try:
        session = await services.admission.admit(
            person=person,
            client=client,
            target=around.target,
            login=around.login,
            request=request,
            path=path,
        )
    except SessionRefused as refused:
        raise Refused(Refusal(403, str(refused))) from refused
    exchange.answer.note = f"session {session.id}"
    exchange.answer.status = 101
    return session


async def _run(
    exchange: Exchange, services: Services, session: AdmittedSession, end: ClientSide, opener: Opener
) -> Outcome:
    """Run *session* until it ends, or the one in which it was asked for does."""
    async with asyncio.TaskGroup() as group:
        ending = group.create_task(_end_with(exchange.session, session))
        outcome = await run_session(session, end, services.admission, opener)
        ending.cancel()
    return outcome


def _opening(exchange: Exchange, request: SessionRequest) -> Opening:
    if problem := handshake_problem(exchange.head):
        raise Refused(Refusal(400, problem))
    protocol = offered(exchange.head, (V5, V4))
    if protocol is None:
        raise Refused(Refusal(403, f"{exchange.request.kind} is spoken here as {V5} or {V4}"))
    return Opening(
        conversation=exchange.conversation,
        tls=exchange.tls,
        head=exchange.head,
        protocol=protocol,
        request=request,
        touch=exchange.session.touch,
    )


async def _end_with(around: ApiSession, session: AdmittedSession) -> None:
    """End *session* when the one that it was asked for in ends."""
    await around.over.wait()
    session.stop(around.outcome)
