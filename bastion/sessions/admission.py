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
from collections.abc import Callable, Sequence

import structlog

from bastion.config.model import Config
from bastion.config.targets import SshTarget, Target
from bastion.errors import SessionRefused
from bastion.identity.person import Person
from bastion.sessions.copying import Copy, copy_of, refuse_copy
from bastion.sessions.session import AdmittedSession, Client, LiveSessions, Outcome
from bastion.sessions.standing import Standing
from bastion.state.store import State
from bastion.transport.request import SessionRequest
from policy.decide import Decision, Limits, Subject, TargetFacts, decide, logins, may_reach, quoted
from policy.files import Copying
from policy.patterns import is_concrete
from policy.rules import ACTIONS, Action
from recorder.errors import RecorderError
from recorder.header import Header
from recorder.journal import Recording
from recorder.redaction import with_own
from recorder.store import Store

log = structlog.get_logger()

_DEFAULT_SIZE = (80, 24)
"""Size written into recordings without a terminal."""


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
        self._is_closed = False

    def close(self) -> None:
        """Let no session in any more: the server waits for those that run."""
        self._is_closed = True

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
    ) -> AdmittedSession:
        """Let a session in, or raise SessionRefused. *path* is what was named inside the target."""
        copy = copy_of(request) if isinstance(target, SshTarget) else None
        action = action_of(request, copy)
        try:
            if self._is_closed:
                raise SessionRefused("the bastion is being stopped", hint="Try again in a moment.")
            if problem := await self._standing.problem(person.serial):  # (1)
                raise SessionRefused(problem)
            if action is None:  # (2)
                raise SessionRefused(f"the bastion does not offer the subsystem {request.command!r}")
            if path and isinstance(target, SshTarget):
                raise SessionRefused(
                    f"{target.name} is an SSH host: there is no {quoted(path)} in it to name"
                )
            login = login or self._default_login(person, target, action)
            decision = decide(  # (3)
                self._config().policy.rules, subject_of(person), facts_of(target), login, action
            )
            if not decision.allowed:
                raise SessionRefused(decision.reason)
            if copy is not None:
                refuse_copy(copy, Copying.of([rule.files for rule in decision.granting]), target.name)
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
            )
            raise
        session = AdmittedSession(  # (5)
            person=person,
            client=client,
            target=target,
            login=login,
            action=action,
            path=path,
            request=request,
            copy=copy,
            recording=recording,
            keeps_contents=self._config().recording.file_contents,
            decision=decision,
            limits=self._limits(decision),
            warning=self._config().sessions.warning,
            started_at=self._now(),
            stopped=asyncio.get_running_loop().create_future(),
        )
        self.live.add(session)
        try:
            # Asked again: who was revoked while the recording was opened was not yet among those to be ended.
            if problem := await self._standing.problem(person.serial):
                raise SessionRefused(problem)
            await self._state.audit.record(
                "session.started",
                user=person.user,
                session=session.id,
                client=str(client),
                target=target.name,
                login=login,
                action=action,
                rule=decision.rule or "",
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

    def _default_login(self, person: Person, target: Target, action: Action) -> str:
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

    def _contents(self, copy: Copy | None) -> dict[str, str]:
        """What a recording of file transfers says about them."""
        if copy is None or copy.protocol == "rsync":
            return {}
        return {"contents": "kept" if self._config().recording.file_contents else "manifest"}

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
    ) -> Recording:
        columns, rows = (request.pty.columns, request.pty.rows) if request.pty else _DEFAULT_SIZE
        header = Header(
            started_at=self._now(),
            columns=columns or _DEFAULT_SIZE[0],
            rows=rows or _DEFAULT_SIZE[1],
            terminal=request.pty.terminal if request.pty else None,
            input=self._config().recording.input,
            redacted=self._config().recording.redact,
            facts={
                "user": person.user,
                "issuer": person.issuer,
                "subject": person.subject,
                "groups": list(person.groups),
                "serial": f"{person.serial:016x}",
                "method": person.method,
                "key": person.key_fingerprint or "",
                "client": str(client),
                "client_version": client.version,
                "target": target.name,
                "kind": target.kind,
                "login": login,
                "action": action,
                "command": request.command,
                "rule": decision.rule or "",
                **({"path": path} if path else {}),
                **self._contents(copy),
            },
        )
        try:
            return await self._store.begin(header, with_own(self._config().recording.secrets))
        except RecorderError as error:
            log.error("recording.refused", reason=error.message, hint=error.hint, target=target.name)
            raise SessionRefused(
                f"no session without a recording, and the recording cannot be opened: {error.message}",
                hint="Tell the people who run this bastion.",
            ) from error


def subject_of(person: Person) -> Subject:
    """*person* as the policy sees them."""
    return Subject(user=person.user, groups=person.groups)


def facts_of(target: Target) -> TargetFacts:
    """*target* as the policy sees it."""
    return TargetFacts(name=target.name, kind=target.kind, labels=target.labels)


def action_of(request: SessionRequest, copy: Copy | None) -> Action | None:
    """The policy's word for *request*, which may be to *copy* files; None for a subsystem nobody can be granted."""
    if copy is not None:
        return "sftp"
    match request.kind:
        case "shell" | "exec":
            return request.kind
        case "connection":
            return "connect"
        case "subsystem":
            return None
