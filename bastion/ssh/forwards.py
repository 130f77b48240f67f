"""What one client connection forwards: for each target and login one session, begun with its first connection.

Through which target, the connection knows: its user name says it (`ssh -L … web-1@bastion`), or it is a jump to one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import asyncssh
import structlog

from bastion.config.targets import SshTarget
from bastion.errors import BastionError, SessionRefused
from bastion.identity.person import Person
from bastion.relay.forwarding import Forwarding, Listening, OpenBack
from bastion.sessions.session import Client
from bastion.ssh.front import Front
from bastion.transport.request import SessionRequest
from policy.decide import no_such_target, quoted
from policy.forwarding import End
from recorder.errors import RecordingFailed

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Through:
    """The target that connections go through, and as whom (None: the default login)."""

    target: SshTarget
    login: str | None


class Forwarder(Protocol):
    """The connection that forwards."""

    client: Client
    lost: asyncio.Event

    @property
    def person(self) -> Person | None: ...

    def through(self, person: Person) -> Through | None:
        """The target that its forwardings are for, if it is for one that *person* may know."""

    def serve(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* no longer than the connection lasts."""

    def say(self, text: str) -> None:
        """Tell the person something, if their client shows it."""


class Forwards:
    """The forwardings of *connection*."""

    def __init__(self, front: Front, connection: Forwarder) -> None:
        self._front = front
        self._connection = connection
        self._forwardings: dict[tuple[str, str | None], asyncio.Future[Forwarding]] = {}

    async def connect(
        self, end: End, origin: tuple[str, int], through: Through | None = None
    ) -> asyncssh.SSHTCPSession[bytes]:
        """The client's end of a connection to *end*. Raises asyncssh.ChannelOpenError, with the reason."""
        try:
            forwarding = await self._forwarding("forward", end, through)
            return await forwarding.connect(end, origin)
        except SessionRefused as refusal:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, refusal.message
            ) from refusal
        except BastionError as error:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, error.message) from error

    async def listen(self, end: End, host: str, open_back: OpenBack) -> Listening | None:
        """Listen at *end*; None if that may or can not be. The protocol has no room for a reason."""
        try:
            forwarding = await self._forwarding("listen", end, None)
            return await forwarding.listen(end, host, open_back)
        except (BastionError, RecordingFailed) as error:
            log.info("forwarding.refused", end=str(end), reason=error.message)
            self._connection.say(f"not listening at {end}: {error.message}")
            return None

    async def _forwarding(
        self, kind: Literal["forward", "listen"], end: End, through: Through | None
    ) -> Forwarding:
        """The session that *end* belongs to. Raises BastionError."""
        person = self._connection.person
        if through is None and person is not None:
            through = self._connection.through(person)
        if person is None or through is None or end.problem:
            reason = (
                end.problem or f"{no_such_target(end.host or end.path).reason}, and the user name names none"
            )
            await self._front.state.audit.record(
                "jump.refused",
                user=person.user if person is not None else None,
                client=str(self._connection.client),
                destination=quoted(str(end)),
                reason=reason,
            )
            raise SessionRefused(reason)
        key = (through.target.name, through.login)
        while True:
            found = self._forwardings.get(key)
            is_mine = found is None or _is_over(found)
            if found is None or is_mine:
                found = self._forwardings[key] = asyncio.get_running_loop().create_future()
                self._connection.serve(self._live(person, through, kind, end, found))
            try:
                return await asyncio.shield(found)
            except SessionRefused:
                if is_mine:  # else it was another end that was refused
                    raise

    async def _live(
        self,
        person: Person,
        through: Through,
        kind: Literal["forward", "listen"],
        end: End,
        ready: asyncio.Future[Forwarding],
    ) -> None:
        front, connection = self._front, self._connection
        try:
            session = await front.admission.admit(
                person=person,
                client=connection.client,
                target=through.target,
                login=through.login,
                request=SessionRequest(kind=kind),
                end=end,
            )
        except BastionError as error:
            ready.set_exception(error)
            return
        forwarding = Forwarding(session, front.admission, connection.say)
        await forwarding.live(front.connectors, connection.lost, ready)


def _is_over(found: asyncio.Future[Forwarding]) -> bool:
    return found.done() and (found.exception() is not None or found.result().is_over)
