"""A connection of a person's own client to a PostgreSQL target: admitted, recorded, and held to the clocks as any.

Who the person is, the SSH connection says; the user that the client names only chooses among the logins it may have.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import structlog

from bastion.ca.lines import long_name
from bastion.config.targets import PostgresTarget
from bastion.connectors.postgres.databases import ANY, database_of
from bastion.connectors.postgres.guard import limits_of
from bastion.connectors.postgres.keeping import keeping_of
from bastion.connectors.postgres.messages import Malformed
from bastion.connectors.postgres.proxy import Proxy, plan
from bastion.connectors.postgres.startup import ALPN, CancelRequest, Refused, Startup, meet
from bastion.connectors.postgres.stream import Buffered, ChannelStream, Stream, TlsStream
from bastion.errors import SessionRefused, TargetError
from bastion.identity.person import Person
from bastion.relay.limits import Activity, watch_limits
from bastion.relay.relay import first_error, recording_failed
from bastion.relay.services import Services
from bastion.runtime.logs import printable
from bastion.sessions.admission import facts_of, subject_of
from bastion.sessions.session import AdmittedSession, Client, Outcome
from bastion.transport.endpoint import TcpEnd
from bastion.transport.request import SessionRequest
from bastion.transport.tls import TlsEnd
from policy.decide import decide
from policy.patterns import is_login
from policy.postgres import Database
from recorder.errors import RecordingFailed
from recorder.events import ErrorOutput, Event, Exited, Input, Noted

log = structlog.get_logger()

POSTGRES_PORT = 5432
STARTUP_TIMEOUT = 30.0
"""Seconds that a client has to say what it wants."""

_NEAR = ("localhost", "127.0.0.1", "::1")
"""Where `ssh -L` listens: drivers that know no `hostaddr` compare these with the certificate."""


async def serve_native(
    services: Services, person: Person, client: Client, target: PostgresTarget, end: TcpEnd
) -> None:
    """Serve the channel *end* until either side has gone."""
    with structlog.contextvars.bound_contextvars(client=str(client), target=target.name):
        stream: Stream = ChannelStream(end)

        async def encrypt(begun: bytes) -> Stream:
            nonlocal stream  # from here on nothing may go to the client in the clear, refusals included
            stream = await _tls(services, target, end, begun)
            return stream

        try:
            async with asyncio.timeout(STARTUP_TIMEOUT):
                buffered, wanted = await meet(stream, encrypt)
            if isinstance(wanted, CancelRequest):
                await services.connectors.cancel_keys.cancel(wanted.key, person.serial)
            else:
                await _Visit(services, person, client, target).serve(buffered, wanted)
        except Refused as refused:
            log.info("postgres.refused", reason=refused.text)
            await stream.write(refused.message)
        except TargetError as error:
            await stream.write(Refused("08006", error.message, error.hint).message)
        except (Malformed, ssl.SSLError, ConnectionError, TimeoutError) as error:
            log.info("postgres.disconnected", reason=str(error) or type(error).__name__)
        finally:
            await stream.close()


async def _tls(services: Services, target: PostgresTarget, end: TcpEnd, begun: bytes) -> Stream:
    """The inside of TLS on *end*, for a client whose first bytes may have been read already."""
    if begun:
        end.unreceive([Input(begun)])
    names = (target.name, long_name(target.name, services.config().server.public_name), *_NEAR)
    inside = TlsEnd(end, services.authorities.tls.server_context(names, (ALPN,)))
    await inside.handshake()
    return TlsStream(inside)


class _Visit:
    """A connection whose client has said what it wants, and the `Listener` that the clocks speak to."""

    def __init__(self, services: Services, person: Person, client: Client, target: PostgresTarget) -> None:
        self._services = services
        self._person = person
        self._client = client
        self._target = target
        self._proxy: Proxy | None = None
        self.request = SessionRequest(kind="connection")

    def put(self, events: Sequence[Event]) -> bool:
        """Our own words for the person: clients show them as warnings."""
        for event in events:
            if isinstance(event, ErrorOutput) and self._proxy is not None:
                self._proxy.tell(event.data.decode().removeprefix("bastion: ").strip())
        return True

    async def serve(self, client: Buffered, startup: Startup) -> None:
        """Admit, pass on, and seal. Raises Refused and TargetError for what the client must be told."""
        database = self._database(startup)
        try:
            session = await self._services.admission.admit(
                person=self._person,
                client=self._client,
                target=self._target,
                login=self._login(startup),
                request=self.request,
                path=database,
            )
        except SessionRefused as refused:
            raise Refused("28000", refused.message, refused.hint) from refused
        outcome = Outcome(ending="failed")
        try:
            with structlog.contextvars.bound_contextvars(session=session.id):
                outcome = await self._pass_on(session, database, client, startup)
        finally:
            outcome = await asyncio.shield(self._services.admission.end(session, outcome))
        if outcome.message and (self._proxy is None or self._proxy.is_between_messages):
            raise Refused("57P01" if outcome.ending != "target refused" else "08006", outcome.message)

    async def _pass_on(
        self, session: AdmittedSession, database: str, client: Buffered, startup: Startup
    ) -> Outcome:
        activity = Activity(asyncio.get_running_loop().time)
        try:
            there = plan(
                self._target,
                session.login,
                database,
                session.id,
                self._person.user,
                startup,
                limits_of(session.decision),
            )
        except SessionRefused as refused:
            return Outcome(ending="target refused", message=str(refused))
        self._proxy = Proxy(
            session,
            there,
            self._services.connectors.cancel_keys,
            keeping=keeping_of(self._services.config()),
            is_drawn=True,
            touch=activity.touch,
        )
        failure: BaseException | None = None
        try:
            if notes := self._notes(session, database, startup):
                await session.recording.append(notes)
            async with asyncio.TaskGroup() as group:
                passing = group.create_task(self._proxy.run(client, startup))
                watching = group.create_task(watch_limits(session, self, activity))
                ends: list[asyncio.Future[Any]] = [passing, session.stopped]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                passing.cancel()
                watching.cancel()
        except* (RecordingFailed, TargetError, Refused) as failures:
            failure = first_error(failures)
        match failure:
            case RecordingFailed():
                return recording_failed(failure)
            case TargetError():
                log.warning("target.refused", reason=failure.message, hint=failure.hint)
                return Outcome(ending="target refused", message=str(failure))
            case Refused():
                return Outcome(ending="failed", message=failure.text)
        if session.stopped.done():
            return session.stopped.result()
        return (
            Outcome(ending="exited", exit=Exited(0))
            if self._proxy.has_left
            else Outcome(ending="client disconnected")
        )

    def _login(self, startup: Startup) -> str | None:
        """The login that the client names; None, for the default one, where that is none of the target's.

        libpq sends the name of whoever runs it when nobody gave another one, so such a name is no reason to refuse.
        """
        user = startup.parameters["user"]
        return user if user in self._known and is_login(user) else None

    def _notes(self, session: AdmittedSession, database: str, startup: Startup) -> list[Event]:
        """Tell the client, and the recording, where it named who is no login; the person's own name goes without."""
        user = startup.parameters["user"]
        if user in self._known or user == self._person.user or self._proxy is None:
            return []
        rules, subject = self._services.config().policy.rules, subject_of(self._person)
        facts, aim = facts_of(self._target), Database(database)
        open_ones = [
            login for login in self._known if decide(rules, subject, facts, login, "connect", aim).allowed
        ]
        text = f"{self._target.name} has no login {printable(user)[:64]}; you are {session.login}"
        in_ascii = text.encode("ascii", "backslashreplace").decode()  # the client may take no UTF-8
        self._proxy.tell(
            in_ascii,
            f"You may be: {', '.join(open_ones)}",
            severity="NOTICE",
        )
        return [Noted(text.replace("you are", "the client got"))]

    @property
    def _known(self) -> list[str]:
        return [account.login for account in self._target.accounts]

    def _database(self, startup: Startup) -> str:
        """The database that the client names, or the first one where it seems to have named none.

        libpq sends the user's name then, and psql that of its first user for as long as it runs (`\\c - writer`).
        """
        named, offered = startup.parameters.get("database", ""), self._target.databases
        is_former = ANY not in offered and named in (self._person.user, *self._known)
        if named not in offered and (named == startup.parameters["user"] or is_former):
            named = ""
        return database_of(self._target, named)
