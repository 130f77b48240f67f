"""One client's connection to a PostgreSQL server, for a session that was admitted: record, then pass on.

The client has said who it is (`startup.py`); the bastion signs in for it (`server.py`) with a credential that the
client never sees; from then on bytes go both ways as they are, each on record before it goes on (`transcript.py`), but
for what is not passed on at all: calls of functions by their numbers, which are no statements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from bastion.config.targets import PostgresAccount, PostgresTarget
from bastion.connectors.postgres.cancel import CancelKeys, Cancellable
from bastion.connectors.postgres.framing import ClientFraming, Piece
from bastion.connectors.postgres.guard import PARSE, QUERY, guarded, told_to_server, watch_statements
from bastion.connectors.postgres.keeping import Keeping
from bastion.connectors.postgres.messages import LENGTH, Malformed, complaint, message
from bastion.connectors.postgres.server import Server, signed_in
from bastion.connectors.postgres.startup import Refused, Startup
from bastion.connectors.postgres.stream import Buffered, Stream
from bastion.connectors.postgres.transcript import Transcript
from bastion.errors import SessionRefused
from bastion.sessions.session import AdmittedSession
from policy.postgres import StatementLimits
from recorder.events import Event

log = structlog.get_logger()

FUNCTION_CALL, TERMINATE = ord("F"), ord("X")
_OURS = {"user", "database", "options"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a client gets: which account of which target, what the start-up says of it to the server, and its limits."""

    target: PostgresTarget
    account: PostgresAccount
    parameters: Mapping[str, str]
    limits: StatementLimits

    @property
    def database(self) -> str:
        return self.parameters["database"]


def plan(
    target: PostgresTarget,
    login: str,
    database: str,
    session_id: str,
    user: str,
    startup: Startup,
    limits: StatementLimits,
) -> Plan:
    """What *user* gets as *login*. Raises SessionRefused if the bastion has no account for that login."""
    account = next((account for account in target.accounts if account.login == login), None)
    if account is None:
        raise SessionRefused(f"the bastion has no account {login} on {target.name}")
    asked = startup.parameters
    wanted = {name: value for name, value in asked.items() if name not in _OURS}
    # For whoever looks at pg_stat_activity: who it is, and where what they do is on record.
    program = asked.get("application_name", "")
    wanted["application_name"] = f"{user}/{session_id} {program}".strip()[:63]
    if "options" in asked:
        wanted["options"] = asked["options"]
    return Plan(
        target=target,
        account=account,
        parameters={**wanted, **told_to_server(limits), "database": database},
        limits=limits,
    )


class Proxy:
    """Passes on for *session* between a client and a server."""

    def __init__(
        self,
        session: AdmittedSession,
        plan: Plan,
        keys: CancelKeys,
        *,
        keeping: Keeping,
        is_drawn: bool,
        touch: Callable[[], None],
    ) -> None:
        self._session = session
        self._plan = plan
        self._keys = keys
        self._transcript = Transcript(
            database=plan.database,
            login=session.login,
            keeping=keeping,
            is_drawn=is_drawn,
            monotonic=asyncio.get_running_loop().time,
        )
        held = (FUNCTION_CALL, QUERY, PARSE) if plan.limits.read_only else (FUNCTION_CALL,)
        self._framing = ClientFraming(held=bytes(held))
        self._framing.copied = self._transcript.copies.sent
        self._said: list[bytes] = []
        self._answered = asyncio.Event()
        self._touch = touch
        self.has_left = False
        self.is_between_messages = True
        """Whether the client has been sent whole messages: words of ours amid a row would be its data."""

    def tell(self, text: str, hint: str = "", *, severity: Literal["WARNING", "NOTICE"] = "WARNING") -> None:
        """Words of ours for the person, which go along with what the server says next."""
        code = "01000" if severity == "WARNING" else "00000"
        self._said.append(complaint(b"N", severity, code, f"bastion: {text}", hint))

    async def run(self, client: Buffered, startup: Startup) -> None:
        """Serve *client*, whose start-up was read, until either side has gone.

        Raises Refused for what the client must be told, TargetError, RecordingFailed.
        """
        async with signed_in(self._plan.target, self._plan.account, self._plan.parameters) as server:
            key = self._keys.add(
                Cancellable(
                    serial=self._session.person.serial,
                    target=self._plan.target,
                    account=self._plan.account,
                    key=server.cancel_key,
                )
            )
            try:
                await client.stream.write(_welcome(startup, server, key, self._notices()))
                await self._pass_on(client, server, key)
            finally:
                self._keys.remove(key)
                await self._record(self._transcript.end())

    async def _pass_on(self, client: Buffered, server: Server, key: bytes) -> None:
        async def cancel() -> None:
            await self._keys.cancel(key, self._session.person.serial)

        try:
            async with asyncio.TaskGroup() as group:
                up = group.create_task(self._upward(client, server))
                down = group.create_task(self._downward(client.stream, server))
                watching = group.create_task(watch_statements(self._plan.limits, self._transcript, cancel))
                ends: list[asyncio.Future[Any]] = [up, down]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if up.done() and not up.exception() and not up.cancelled():
                    await server.stream.end()
                    await asyncio.wait([down], timeout=5)
                for task in (up, down, watching):
                    task.cancel()
        except ExceptionGroup as errors:
            error = errors.exceptions[0]
            if isinstance(error, Malformed):
                raise Refused("08P01", f"the bastion cannot read this: {error}") from error
            raise error from None

    async def _upward(self, client: Buffered, server: Server) -> None:
        data, client.rest = client.rest or await client.stream.read(), b""
        while data:
            for piece in self._framing.feed(data):
                if piece.messages and piece.messages[0][0] == FUNCTION_CALL:
                    await self._refuse(client.stream)
                    continue
                await self._record(self._transcript.client_says(piece.messages))
                await server.stream.write(self._passed(piece))
                self.has_left = bool(piece.messages) and piece.messages[-1][0] == TERMINATE
            data = await client.stream.read()

    def _passed(self, piece: Piece) -> bytes:
        return guarded(piece) if self._plan.limits.read_only else piece.data

    async def _downward(self, client: Stream, server: Server) -> None:
        data = server.rest or await server.stream.read()
        while data:
            notices = self._notices()
            await self._record(self._transcript.server_says(data))
            self.is_between_messages = self._transcript.server.is_between
            await client.write(notices + data)
            self._answered.set()
            data = await server.stream.read()

    def _notices(self) -> bytes:
        """What we have to say, where it can be said: between two messages of the server."""
        if not self._said or not self._transcript.server.is_between:
            return b""
        said, self._said = self._said, []
        return b"".join(said)

    async def _refuse(self, client: Stream) -> None:
        """Answer a call of a function as the server would that knows none, once all before it is answered."""
        while self._transcript.owes_answers or not self._transcript.server.is_between:
            if not self._transcript.awaits_end:
                raise Malformed("a call of a function amid statements that are not complete")
            self._answered.clear()
            await self._answered.wait()
        await self._record(self._transcript.refused("a call of a function by its number"))
        text = "the bastion passes on statements, and no calls of functions by their numbers"
        ready = message(b"Z", bytes([self._transcript.status]))
        await client.write(complaint(b"E", "ERROR", "0A000", text, "Call it in a statement.") + ready)

    async def _record(self, events: list[Event]) -> None:
        self._touch()
        if events:
            await self._session.recording.append(events)


def _welcome(startup: Startup, server: Server, key: bytes, notices: bytes) -> bytes:
    """What a client hears once we are signed in: as from the server, but for the key to cancel with, and *notices*."""
    parts = [startup.answer, message(b"R", LENGTH.pack(0))]
    for kind, body in server.greeting:
        if kind == b"Z":
            parts += [message(b"K", key), notices]
        parts.append(message(kind, body))
    return b"".join(parts)
