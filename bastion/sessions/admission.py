"""The gate all sessions pass, whichever door they came in by.

`Admission.admit` is a numbered procedure; what it returns is the only thing a connector accepts.

1. The person's grant still stands: known to the state, not expired, not revoked, its user not locked.
2. The action is one we can record.
3. The policy lets this person do it on this target as this login; without a login named, one is chosen.
4. The recording is open. No recording, no session.
5. The session is registered as live, so that it can be ended from outside, and written to the audit log.

A refusal at any step is a `SessionRefused` with a message fit for the person, and an audit event with the reason.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence

import structlog

from bastion.config.model import Config
from bastion.config.targets import PostgresTarget, SshTarget, Target
from bastion.errors import SessionRefused
from bastion.identity.person import Person
from bastion.sessions.copying import Copy, copy_of, refuse_copy
from bastion.sessions.header import header_of
from bastion.sessions.pods import pod_of
from bastion.sessions.session import AdmittedSession, Client, LiveSessions, Outcome
from bastion.sessions.standing import Standing
from bastion.state.store import State
from bastion.transport.request import SessionRequest
from policy.decide import Decision, Limits, Subject, TargetFacts, decide, logins, may_reach, quoted
from policy.files import Copying
from policy.forwarding import End
from policy.match import Aim
from policy.patterns import is_concrete
from policy.postgres import Database
from policy.rules import ACTIONS, FORWARDING, Action
from recorder.errors import RecorderError
from recorder.journal import Recording
from recorder.redaction import with_own
from recorder.store import Store

log = structlog.get_logger()


class Admission:
    """Decides about sessions, opens their recordings, and closes their books. *now* gives Unix seconds."""

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        state: State,
        standing: Standing,
        store: Store,
        live: LiveSessions,
        now: Callable[[], float],
    ) -> None:
        self._config = config
        self._state = state
        self._standing = standing
        self._store = store
        self._now = now
        self.live = live
        self.closed = asyncio.Event()

    def close(self) -> None:
        """Let no session in any more: the server waits for those that run."""
        self.closed.set()

    def reachable(self, person: Person) -> list[tuple[Target, list[str]]]:
        """The targets *person* may reach, each with the logins they may use there, in the order of the config."""
        config, subject = self._config(), subject_of(person)
        return [
            (target, self._choices(person, target))
            for target in config.targets
            if may_reach(config.policy.rules, subject, facts_of(target))
        ]

    def visible(self, person: Person, name: str) -> Target | None:
        """The target of that name, if *person* may know that it exists."""
        config = self._config()
        target = config.target(name)
        if target is None or not may_reach(config.policy.rules, subject_of(person), facts_of(target)):
            return None
        return target

    async def admit(
        self,
        *,
        person: Person,
        client: Client,
        target: Target,
        login: str | None,
        request: SessionRequest,
        path: str = "",
        end: End | None = None,
    ) -> AdmittedSession:
        """Let a session in, or raise SessionRefused.

        *path* is what was named inside the target, *end* whereto or where the first connection of a forwarding is.
        """
        copy = copy_of(request) if isinstance(target, SshTarget) else None
        action = action_of(request, copy)
        try:
            await self._require_standing(person)  # (1)
            if action is None:  # (2)
                raise SessionRefused(f"the bastion does not offer the subsystem {request.command!r}")
            if path and isinstance(target, SshTarget):
                raise SessionRefused(
                    f"{target.name} is an SSH host: there is no {quoted(path)} in it to name"
                )
            pod, database = pod_of(target, request, path), database_of(target, path)
            login = login or self.default_login(person, target, action)
            aim = pod.facts if pod else database or end
            decision = self._decide(person, target, login, action, aim)  # (3)
            if not decision.allowed:
                raise SessionRefused(decision.reason)
            request = self._with_grants(person, target, login, request)
            if copy is not None:
                refuse_copy(copy, Copying.of([rule.files for rule in decision.granting]), target.name)
            path = str(pod or (database.name if database else path))
            recording = await self._record(  # (4)
                person, client, target, login, action, path, request, copy, decision
            )
        except SessionRefused as refusal:
            await self._state.audit.record(
                "session.refused",
                user=person.user,
                client=str(client),
                target=target.name,
                login=login or "",
                action=action or request.command,
                reason=refusal.message,
                **({"end": str(end)} if end is not None else {}),
            )
            raise
        session = AdmittedSession(
            person=person,
            client=client,
            target=target,
            login=login,
            action=action,
            path=path,
            request=request,
            copy=copy,
            recording=recording,
            keeps_contents=self._keeps_contents(action),
            decision=decision,
            limits=self._limits(decision),
            warning=self._config().sessions.warning,
            started_at=self._now(),
            stopped=asyncio.get_running_loop().create_future(),
            draining=asyncio.get_running_loop().create_future(),
        )
        return await self._register(session)

    async def admit_connection(self, within: AdmittedSession, command: str) -> AdmittedSession:
        """A session for the contents of one connection that *within* forwards. Raises SessionRefused."""
        recording = await self._record(
            within.person,
            within.client,
            within.target,
            within.login,
            within.action,
            within.path,
            dataclasses.replace(within.request, command=command),
            None,
            within.decision,
            {"within": within.id},
        )
        return await self._register(
            dataclasses.replace(
                within,
                recording=recording,
                started_at=self._now(),
                stopped=asyncio.get_running_loop().create_future(),
                draining=asyncio.get_running_loop().create_future(),
            )
        )

    async def check(self, session: AdmittedSession, action: Action, end: End | None) -> None:
        """Raise SessionRefused unless a connection of *session* may be opened now, and leave an audit event behind."""
        try:
            await self._require_standing(session.person)
            decision = self._decide(session.person, session.target, session.login, action, end)
            if not decision.allowed:
                raise SessionRefused(decision.reason)
        except SessionRefused as refusal:
            await self._state.audit.record(
                "connection.refused",
                user=session.person.user,
                session=session.id,
                client=str(session.client),
                target=session.target.name,
                login=session.login,
                action=action,
                reason=refusal.message,
                **({"end": str(end)} if end is not None else {}),
            )
            raise

    async def _register(self, session: AdmittedSession) -> AdmittedSession:  # (5)
        self.live.add(session)
        try:
            # Asked again: who was revoked while the recording was opened was not yet among those to be ended.
            if problem := await self._standing.problem(session.person.serial):
                raise SessionRefused(problem)
            await self._state.audit.record(
                "session.started",
                user=session.person.user,
                session=session.id,
                client=str(session.client),
                target=session.target.name,
                login=session.login,
                action=session.action,
                rule=session.decision.rule or "",
            )
        except BaseException as error:
            ending = "revoked" if isinstance(error, SessionRefused) else "failed"
            await asyncio.shield(self.end(session, Outcome(ending=ending)))
            raise
        return session

    async def end(self, session: AdmittedSession, outcome: Outcome) -> Outcome:
        """Seal the recording and close the books; the outcome changes if the recording cannot be sealed."""
        try:
            await session.recording.seal(outcome.ending, outcome.exit_status)
        except RecorderError as error:
            if outcome.ending != "recording failed":
                outcome = Outcome(
                    ending="recording failed",
                    message=f"the recording of this session cannot be completed: {error.message}",
                    exit_code=74,
                )
        finally:
            self.live.remove(session)
        await self._state.audit.record(
            "session.ended",
            user=session.person.user,
            session=session.id,
            ending=outcome.ending,
            exit_status=outcome.exit_status,
            message=outcome.message,
        )
        return outcome

    async def _require_standing(self, person: Person) -> None:
        if self.closed.is_set():
            raise SessionRefused("the bastion is being stopped", hint="Try again in a moment.")
        if problem := await self._standing.problem(person.serial):
            raise SessionRefused(problem)

    def _decide(
        self, person: Person, target: Target, login: str, action: Action, end: Aim | None = None
    ) -> Decision:
        rules = self._config().policy.rules
        return decide(rules, subject_of(person), facts_of(target), login, action, end)

    def _with_grants(
        self, person: Person, target: Target, login: str, request: SessionRequest
    ) -> SessionRequest:
        """*request* without the agent and the screen where no rule grants them: the session goes on without."""
        return dataclasses.replace(
            request,
            agent=request.agent and self._decide(person, target, login, "agent").allowed,
            x11=request.x11 if self._decide(person, target, login, "x11").allowed else None,
        )

    def _choices(self, person: Person, target: Target, actions: Sequence[Action] = ACTIONS) -> list[str]:
        """Logins to offer, best first: the target's own, then those that rules name, then the person's own name.

        Patterns (`*`) stand last, for a person to type a login against; the first is always a login to take.
        """
        rules, subject, facts = self._config().policy.rules, subject_of(person), facts_of(target)

        def is_open(login: str) -> bool:
            return any(decide(rules, subject, facts, login, action).allowed for action in actions)

        named = logins(rules, subject, facts, actions)
        own = [target.login] if target.login is not None and is_open(target.login) else []
        mine = [person.user] if not any(map(is_concrete, named)) and is_open(person.user) else []
        return list(dict.fromkeys([*own, *mine, *named]))

    def default_login(self, person: Person, target: Target, action: Action) -> str:
        """The login of who names none. Raises SessionRefused where one must be named."""
        choices = self._choices(person, target, [action]) or self._choices(person, target)
        concrete = [login for login in choices if is_concrete(login)]
        if not concrete:
            raise SessionRefused(
                f"name a login for {target.name}, as in login@{target.name}",
                hint=f"You may use: {', '.join(choices)}" if choices else "",
            )
        return concrete[0]

    def _limits(self, decision: Decision) -> Limits:
        general = self._config().sessions
        return Limits.narrowest([Limits(general.idle_timeout, general.max_duration), decision.limits])

    def _keeps_contents(self, action: Action) -> bool:
        kept = self._config().recording
        return kept.forwarded_contents if action in FORWARDING else kept.file_contents

    async def _record(
        self,
        person: Person,
        client: Client,
        target: Target,
        login: str,
        action: str,
        path: str,
        request: SessionRequest,
        copy: Copy | None,
        decision: Decision,
        more: Mapping[str, str] | None = None,
    ) -> Recording:
        settings = self._config().recording
        facts = {"login": login, "action": action, "rule": decision.rule or ""}
        header = header_of(
            person,
            client,
            target,
            request,
            copy,
            facts | ({"path": path} if path else {}) | dict(more or {}),
            settings=settings,
            started_at=self._now(),
        )
        try:
            return await self._store.begin(header, with_own(settings.secrets))
        except RecorderError as error:
            log.error("recording.refused", reason=error.message, hint=error.hint, target=target.name)
            raise SessionRefused(
                f"no session without a recording, and the recording cannot be opened: {error.message}",
                hint="Tell the people who run this bastion.",
            ) from error


def subject_of(person: Person) -> Subject:
    """*person* as the policy sees them."""
    return Subject(user=person.user, groups=person.groups)


def database_of(target: Target, path: str) -> Database | None:
    """The database that is meant where *path* was named inside *target*; None where it has none."""
    return Database(path or target.default_database) if isinstance(target, PostgresTarget) else None


def facts_of(target: Target) -> TargetFacts:
    """*target* as the policy sees it."""
    return TargetFacts(name=target.name, kind=target.kind, labels=target.labels)


def action_of(request: SessionRequest, copy: Copy | None) -> Action | None:
    """The policy's word for *request*, which may be to *copy* files; None for a subsystem nobody can be granted."""
    if copy is not None:
        return "sftp"
    match request.kind:
        case "shell" | "exec" | "forward" | "listen":
            return request.kind
        case "logs":
            return "exec"
        case "connection":
            return "connect"
        case "subsystem":
            return None
