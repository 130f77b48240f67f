"""One channel from its request to its end: to a target, to the picker, or to a command of our own.

Three doors, one corridor: whichever way leads to a target, it goes through `Admission` and `run_session`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

import asyncssh
import structlog

from bastion.config.targets import KubernetesTarget, PostgresTarget, Target
from bastion.connectors.postgres.psql_words import with_role
from bastion.errors import BastionError, SessionRefused, TargetError
from bastion.identity.person import Person
from bastion.relay.notice import notice
from bastion.relay.run import run_session
from bastion.sessions.pods import is_to_choose
from bastion.sessions.session import Client, Outcome
from bastion.ssh.builtins import run_builtin
from bastion.ssh.front import Front
from bastion.ssh.login import run_login
from bastion.ssh.picker import Entry, pick
from bastion.ssh.picker_levels import pick_inside
from bastion.ssh.route import Route, ToBuiltin, ToPicker, ToTarget, is_key_copy, route
from bastion.ssh.terminal import ChannelTerminal
from bastion.transport.endpoint import ClientEnd
from bastion.transport.request import SessionRequest
from policy.decide import no_such_target
from policy.errors import PolicyError
from recorder.errors import RecorderError
from recorder.events import Exited, Killed

log = structlog.get_logger()

NO_TARGET = 64
"""Exit status where nobody named a target and there is no terminal to choose one in (EX_USAGE)."""


class Caller(Protocol):
    """The connection a channel came in by: whose it is, and the target it was made for, if it was for one alone."""

    client: Client
    username: str
    target: str | None

    @property
    def person(self) -> Person | None: ...
    @property
    def proven_key(self) -> asyncssh.SSHKey | None: ...


async def serve_channel(channel: ClientEnd, connection: Caller, front: Front) -> None:
    """Serve one session channel and close it; every refusal is told, none is raised."""
    with structlog.contextvars.bound_contextvars(client=str(connection.client)):
        try:
            ending = await _Visit(channel, connection, front).serve()
        except (BastionError, RecorderError, PolicyError) as error:
            log.info("channel.refused", reason=error.message)
            await channel.deliver([notice(channel, str(error))])
            ending = Exited(error.exit_code)
        await channel.finish(ending)


class _Visit:
    """What one channel needs to know of its connection."""

    def __init__(self, channel: ClientEnd, connection: Caller, front: Front) -> None:
        self._channel = channel
        self._front = front
        self._client: Client = connection.client
        self._username: str = connection.username
        self._only_target: str | None = connection.target
        self._person: Person | None = connection.person
        self._key: asyncssh.SSHKey | None = connection.proven_key
        self._terminal = ChannelTerminal(channel)

    async def serve(self) -> Exited | Killed | None:
        if self._person is None:  # let in as `login`, with a key that says nothing about who holds it
            arguments = tuple(self._channel.request.command.split())
            return await self._builtin(
                run_login(self._terminal, self._front, self._client, self._key, arguments)
            )
        if is_key_copy(self._channel.request):
            raise SessionRefused(
                "there is no use for ssh-copy-id here: people sign in and get a certificate for their key, and targets"
                " trust the bastion",
                hint=f"Get one with: ssh login@{self._front.config().server.public_name}",
            )
        person = self._person
        there = self._route(person)
        match there:
            case ToBuiltin("login", arguments):
                return await self._builtin(
                    run_login(self._terminal, self._front, self._client, self._key, arguments)
                )
            case ToBuiltin("menu", _):
                await self._require_standing(person)
                return await self._picker(person, "")
            case ToBuiltin(word, arguments):
                await self._require_standing(person)
                work = run_builtin(word, arguments, self._terminal, self._front, person, self._client)
                return await self._builtin(
                    work, None if word == "logout" else person
                )  # it ends what lets it in
            case ToTarget():
                return await self._to_target(person, there)
            case ToPicker(words):
                await self._require_standing(person)
                return await self._picker(person, words)

    async def _to_target(self, person: Person, there: ToTarget) -> Exited | Killed | None:
        target = self._front.admission.visible(person, there.target)
        if target is None:
            raise SessionRefused(no_such_target(there.target).reason)
        login, request = there.login, there.request
        if isinstance(target, PostgresTarget) and login is None:
            login, request = with_role(request)
        if isinstance(target, KubernetesTarget) and is_to_choose(request, there.path):
            return await self._choose(person, target, login, there.path)
        return (await self._session(person, target, login, request, there.path)).told

    async def _require_standing(self, person: Person) -> None:
        """Raise SessionRefused for who was let in once and is revoked, locked or expired by now."""
        if problem := await self._front.standing.problem(person.serial):
            raise SessionRefused(problem)

    def _route(self, person: Person) -> Route:
        if self._only_target is not None:  # the user name is then the login, whatever else it may mean
            return ToTarget(self._only_target, self._username, self._channel.request)
        visible = self._front.admission.visible
        return route(self._username, self._channel.request, lambda name: visible(person, name) is not None)

    async def _builtin(self, work: Coroutine[Any, Any, int], person: Person | None = None) -> Exited | None:
        """Run a command of ours for as long as the client is there, and *person* is let in."""
        async with asyncio.TaskGroup() as group:
            working = group.create_task(_caught(work))
            leaving = group.create_task(self._channel.gone.wait())
            ends: set[asyncio.Task[Any]] = {working, leaving}
            if person is not None:
                ends.add(losing := group.create_task(self._front.standing.until_withdrawn(person.serial)))
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            problem = losing.result() if person is not None and losing.done() else ""
            for task in ends:
                task.cancel()
        if problem and not self._channel.closed:
            raise SessionRefused(problem)
        if working.cancelled():
            return None
        result = working.result()
        if isinstance(result, BaseException):
            raise result
        return Exited(result)

    async def _session(
        self, person: Person, target: Target, login: str | None, request: SessionRequest, path: str = ""
    ) -> Outcome:
        front = self._front
        session = await front.admission.admit(
            person=person, client=self._client, target=target, login=login, request=request, path=path
        )
        return await run_session(session, self._channel, front.admission, front.connectors)

    async def _picker(self, person: Person, words: str) -> Exited:
        """The list, a session, and the list again, as policy and targets are by then, until the person leaves."""
        if not self._terminal.is_tty:
            return await self._say_what_there_is(person, words)
        while not self._channel.closed:
            reachable = await self._reachable(person)
            choice = await pick(
                self._terminal,
                [_entry(target, logins) for target, logins in reachable],
                heading=f"Signed in as {person.user}",
                notice=words,
                ssh_command=self._ssh,
            )
            if choice is None:
                break
            self._terminal.unread(choice.typed_ahead)
            target = next(target for target, _ in reachable if target.name == choice.entry.name)
            ended = await self._session_from_picker(person, target, choice.login)
            words = ended or ""
            if ended is not None:
                self._channel.forget_typed()  # an Enter too many for the shell must not choose another target
        return Exited(0)

    async def _session_from_picker(self, person: Person, target: Target, login: str | None) -> str | None:
        """One session; returns the words for the picker that opens again, None where the person went back to it."""
        try:
            path = await self._inside(person, target, login)
            if path is None:
                return None
            outcome = await self._session(person, target, login, self._shell_request(), path)
        except (SessionRefused, TargetError) as refusal:
            return str(refusal)
        return outcome.message or f"{target.name}: {_ended(outcome)}"

    async def _choose(
        self, person: Person, target: Target, login: str | None, start: str
    ) -> Exited | Killed | None:
        """A shell in what the person picks in *target* from *start* on."""
        await self._require_standing(person)
        login = login or self._front.admission.default_login(person, target, "shell")
        path = await self._inside(person, target, login, start)
        if path is None:
            return Exited(0)
        return (await self._session(person, target, login, self._shell_request(), path)).told

    async def _inside(self, person: Person, target: Target, login: str | None, start: str = "") -> str | None:
        """What was picked in *target*, empty where there is nothing to pick; None to go back."""
        return await pick_inside(
            self._terminal,
            lambda path: self._front.connectors.level(person, target, login, path),
            address=f"{login}@{target.name}" if login else target.name,
            heading=target.name,
            ssh_command=self._ssh,
            start=start,
        )

    def _shell_request(self) -> SessionRequest:
        """A shell on the terminal as it is by now: while somebody chose, it may have changed."""
        pty = self._channel.request.pty
        assert pty is not None
        now = dataclasses.replace(pty, columns=self._terminal.columns, rows=self._terminal.rows)
        return dataclasses.replace(self._channel.request, kind="shell", command="", pty=now)

    @property
    def _ssh(self) -> str:
        server = self._front.config().server
        port = server.public_port or server.port
        return f"ssh -t {server.public_name}" if port == 22 else f"ssh -p {port} -t {server.public_name}"

    async def _reachable(self, person: Person) -> list[tuple[Target, list[str]]]:
        # Many targets times many rules take a while: not at the expense of other people's keystrokes.
        return await asyncio.to_thread(self._front.admission.reachable, person)

    async def _say_what_there_is(self, person: Person, words: str) -> Exited:
        lines = [words] if words else []
        if names := [target.name for target, _ in await self._reachable(person)]:
            lines += [f"You are signed in as {person.user} and can reach: {', '.join(names)}"]
            lines += [f"Name one ({self._ssh} {names[0]}), or add -t to choose from a list."]
        else:
            lines += [f"You are signed in as {person.user}, and no rule lets you reach any target."]
        await self._terminal.say("".join(f"bastion: {line}\n" for line in lines), error=True)
        return Exited(NO_TARGET)


def _entry(target: Target, logins: Sequence[str]) -> Entry:
    return Entry(
        name=target.name,
        kind=target.kind,
        description=target.description,
        logins=tuple(logins),
        labels=target.labels,
    )


async def _caught(work: Coroutine[Any, Any, int]) -> int | BastionError | RecorderError | PolicyError:
    """Turn expected errors into values, which a TaskGroup does not wrap."""
    try:
        return await work
    except (BastionError, RecorderError, PolicyError) as error:
        return error


def _ended(outcome: Outcome) -> str:
    match outcome.exit:
        case Exited(0):
            return "the session has ended"
        case Exited(status):
            return f"the session ended with exit status {status}"
        case Killed(signal):
            return f"the session was ended by signal {signal}"
        case None:
            return outcome.ending
