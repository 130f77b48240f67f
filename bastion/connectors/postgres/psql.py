"""psql for a person: in a box, connected to nothing but a socket behind which the bastion signs in for it.

The box holds no credential, and whatever psql offers to run, read or write beside the server finds nothing there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import structlog

from bastion.config.model import Config
from bastion.config.targets import PostgresTarget
from bastion.connectors.box import SOCKETS, Boxed, box_command, known_terminal, open_filter
from bastion.connectors.postgres.cancel import CancelKeys
from bastion.connectors.postgres.databases import database_of
from bastion.connectors.postgres.guard import limits_of
from bastion.connectors.postgres.keeping import keeping_of
from bastion.connectors.postgres.messages import Malformed
from bastion.connectors.postgres.proxy import Proxy, plan
from bastion.connectors.postgres.psql_program import boxable_psql
from bastion.connectors.postgres.psql_words import arguments_of
from bastion.connectors.postgres.startup import CancelRequest, Refused, Startup, meet
from bastion.connectors.postgres.stream import SocketStream
from bastion.connectors.program import ProgramEnd, running
from bastion.errors import SessionRefused, TargetError
from bastion.sessions.admission import facts_of, subject_of
from bastion.sessions.session import AdmittedSession, Outcome
from policy.decide import Decision, decide
from policy.postgres import Database
from recorder.errors import RecordingFailed

log = structlog.get_logger()

SOCKET_NAME = ".s.PGSQL.5432"
MOST_CONNECTIONS = 8
"""Connections of one psql at a time: its own, one that cancels, one that `\\c` opens before it lets go of the last."""
STARTUP_TIMEOUT = 15.0

_ALWAYS = ("-X", "-P", "pager=off")


@asynccontextmanager
async def open_psql(
    session: AdmittedSession, target: PostgresTarget, keys: CancelKeys, config: Callable[[], Config]
) -> AsyncIterator[ProgramEnd]:
    """psql for *session* on *target*; it has ended on leaving. Raises TargetError."""
    program = await asyncio.to_thread(boxable_psql)
    arguments = arguments_of(session.request.command)
    try:
        database = database_of(target, session.path)
    except Refused as refused:
        raise TargetError(refused.text, hint=refused.hint) from refused
    request = session.request
    environment = {
        "PGHOST": str(SOCKETS),
        "PGPORT": "5432",
        "PGUSER": session.login,
        "PGDATABASE": database,
        "PGSSLMODE": "disable",
        "PGGSSENCMODE": "disable",
        "PSQL_HISTORY": "/dev/null",
        "PSQL_PAGER": "",
        "PAGER": "",
        "PGPASSFILE": "/none",
        "PGSERVICEFILE": "/none",
        "PGSYSCONFDIR": "/",
        "INPUTRC": "/dev/null",
    }
    folder = config().run_folder / session.id
    boxed = Boxed(
        program=program,
        arguments=[*_ALWAYS, *arguments],
        sockets=folder,
        terminal=known_terminal(request.pty.terminal) if request.pty is not None else "dumb",
        environment=environment,
    )
    async with AsyncExitStack() as stack:
        try:
            listening = stack.enter_context(_socket_in(folder))
            filtering = open_filter()
            stack.callback(os.close, filtering)
            command = await asyncio.to_thread(box_command, boxed, filter_descriptor=filtering)
            end = await stack.enter_async_context(running(command, request.pty, descriptors=[filtering]))
        except OSError as error:
            log.error("psql.not-started", reason=str(error))
            hint = "Tell the people who run this bastion."
            raise TargetError("psql cannot be started here", hint=hint) from error
        door = _Door(session, target, keys, config, end)
        await stack.enter_async_context(_serving(listening, door))
        yield end


@contextmanager
def _socket_in(folder: Path) -> Iterator[socket.socket]:
    """A socket in *folder*, which is made for it, and gone afterwards."""
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
            try:  # a path may be longer than an address of a socket
                listening.bind(f"/proc/self/fd/{place}/{SOCKET_NAME}")
            finally:
                os.close(place)
            listening.listen()
            yield listening
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def _serving(listening: socket.socket, door: _Door) -> AsyncIterator[None]:
    """Serve the connections of the box for as long as it lasts."""
    async with asyncio.TaskGroup() as group:

        def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if door.admits(writer):
                door.take(group.create_task(door.serve(SocketStream(reader, writer))), writer)
            else:
                writer.close()

        server = await asyncio.start_unix_server(come, sock=listening)
        try:
            yield
        finally:
            server.close()
            door.close()


class _Door:
    """Behind the socket of one box."""

    def __init__(
        self,
        session: AdmittedSession,
        target: PostgresTarget,
        keys: CancelKeys,
        config: Callable[[], Config],
        box: ProgramEnd,
    ) -> None:
        self._session = session
        self._target = target
        self._keys = keys
        self._config = config
        self._box = box
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def admits(self, writer: asyncio.StreamWriter) -> bool:
        """Whether another connection may come in: of a process in the box, and not too many."""
        peer: socket.socket = writer.get_extra_info("socket")
        pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return self._box.leads(pid) and len(self._serving) < MOST_CONNECTIONS

    def take(self, task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        """Count the connection that *task* serves, until it has."""
        self._serving[task] = writer
        task.add_done_callback(self._serving.pop)

    def close(self) -> None:
        for task, writer in self._serving.items():
            writer.transport.abort()  # what it has not taken, nobody waits for any more
            task.cancel()

    async def serve(self, stream: SocketStream) -> None:
        """Serve one connection until either side has gone; what is refused is told."""
        try:
            await self._serve(stream)
        except Refused as refused:
            await stream.write(refused.message)
        except (TargetError, SessionRefused) as error:
            log.warning("target.refused", reason=error.message, hint=error.hint)
            await stream.write(Refused("08006", error.message, error.hint).message)
        except (Malformed, ConnectionError, TimeoutError) as error:
            log.info("psql.disconnected", reason=str(error))
        except RecordingFailed as failure:
            self._end(failure)
        except ExceptionGroup as errors:
            failures, others = errors.split(RecordingFailed)
            if failures is None or others is not None:
                raise
            self._end(failures.exceptions[0])
        finally:
            await stream.close()

    def _end(self, failure: Exception) -> None:
        message = f"the recording of this session cannot be written, so it ends: {failure}"
        self._session.stop(Outcome(ending="recording failed", message=message, exit_code=74))

    async def _serve(self, stream: SocketStream) -> None:
        async with asyncio.timeout(STARTUP_TIMEOUT):
            client, wanted = await meet(stream, None)
        if isinstance(wanted, CancelRequest):
            await self._keys.cancel(wanted.key, self._session.person.serial)
            return
        session, login = self._session, self._login(wanted)
        database = database_of(self._target, wanted.parameters.get("database", ""))
        limits = limits_of(self._decision(database))
        there = plan(self._target, login, database, session.id, session.person.user, wanted, limits)
        keeping = keeping_of(self._config())
        proxy = Proxy(session, there, self._keys, keeping=keeping, is_drawn=False, touch=lambda: None)
        await proxy.run(client, wanted)

    def _decision(self, database: str) -> Decision:
        r"""What the rules say of another database (`\c`) than the one that the session was let in for."""
        session = self._session
        if database == session.path:
            return session.decision
        decision = decide(
            self._config().policy.rules, subject_of(session.person), facts_of(self._target),
            session.login, session.action, Database(database),
        )  # fmt: skip
        if not decision.allowed:
            raise Refused("28000", decision.reason)
        return decision

    def _login(self, startup: Startup) -> str:
        """The session's own: another role is another session, with a recording of its own."""
        user = startup.parameters["user"]
        if user != self._session.login:
            raise Refused(
                "28000",
                f"this session is one of {self._session.login}",
                f"Begin another one: ssh -t BASTION {self._target.name} ROLE",
            )
        return user
