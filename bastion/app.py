"""The whole server: everything opened in order, run, and closed in phases.

Opening: config, key modes, state, authorities, recordings (with recovery of what a crash left), issuer, listener.
Closing, each phase with a deadline: stop accepting · let sessions finish · end them · seal · close the stores. A
second signal jumps ahead. What is still open after that is sealed as interrupted by the next start.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from bastion.ca.authorities import Authorities
from bastion.config.load import TARGETS_FOLDER, examine, load, usable
from bastion.config.model import Config, Issuer
from bastion.connectors.connect import Connectors
from bastion.connectors.postgres.psql_program import warn_without_psql
from bastion.errors import BastionError, ConfigError
from bastion.identity.development import DevelopmentIssuer
from bastion.identity.oidc import Provider
from bastion.identity.pending import PendingLogins
from bastion.ops.daily import apply_daily
from bastion.ops.modes import check_modes
from bastion.runtime.logs import configure_logs
from bastion.runtime.supervise import Supervisor
from bastion.sessions.admission import Admission
from bastion.sessions.session import LiveSessions, Outcome
from bastion.sessions.standing import Standing
from bastion.ssh.arrivals import Arrivals, Refusals
from bastion.ssh.connection import Connection
from bastion.ssh.front import Front
from bastion.ssh.penalties import Penalties
from bastion.state.store import State
from bastion.transport.algorithms import server_options
from bastion.transport.hooks import Listener
from recorder.errors import RecorderError
from recorder.keys import SigningKey, published_keys
from recorder.recipients import Recipients
from recorder.store import Store

log = structlog.get_logger()

KEEPALIVE_INTERVAL = 30
STATE_POLL = 0.25
"""Seconds between looks for what a command changed in the state: a revoked session ends within a second."""
AUTHORITIES_RELOAD = 3600.0
"""Seconds after which keys are read again even if nothing changed: trust runs out, certificates are renewed."""
READ_AT_START = ("data", "server", "log", "recording", "certificates", "development_issuer")
"""Settings that a reload does not change, or not all of."""
SWITCH_INTERVAL = 0.0002
"""Seconds a thread may hold the interpreter while another waits: the search index is made in a thread, and each key of
each session passes from the event loop to the recorder's thread and back."""
END_TIMEOUT = 5.0
"""Seconds that ended sessions have to seal their recordings, and connections to go away."""

LEAVE_TIMEOUT = 2.0
"""Seconds that clients have to go by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The server accepts connections: on this port, with sign-in at this issuer."""

    port: int
    issuer: str


class Bastion:
    """The services of a running server, and the reload and the end of it."""

    def __init__(
        self,
        path: Path,
        config: Config,
        *,
        state: State,
        authorities: Authorities,
        store: Store,
        development: DevelopmentIssuer | None,
        now: Callable[[], float],
    ) -> None:
        self._path = path
        self._config = config
        self._files = _stamps(path)
        self._development = development
        self._provider = Provider(self._issuer(config))
        self._state = state
        self._store = store
        self._now = now
        self._next_reload = 0.0
        self._is_behind = False
        self._authorities = authorities
        self._listener: Listener | None = None
        self._supervisor = Supervisor(report_failure)
        standing = Standing(state, now)
        self._live = LiveSessions()
        self._front = Front(
            config=lambda: self._config,
            provider=lambda: self._provider,
            state=state,
            authorities=authorities,
            connectors=Connectors(authorities=authorities, config=lambda: self._config),
            admission=Admission(
                config=lambda: self._config,
                state=state,
                standing=standing,
                store=store,
                live=self._live,
                now=now,
            ),
            standing=standing,
            store=store,
            arrivals=Arrivals(
                Penalties(exempt=lambda: self._config.server.penalty_exempt, monotonic=time.monotonic)
            ),
            refusals=Refusals(time.monotonic),
            pending_logins=PendingLogins(),
            supervisor=self._supervisor,
            now=now,
        )

    async def start(self) -> Ready:
        """Accept connections. Raises ConfigError when the address is taken."""
        server = self._config.server
        self._listener = Listener(
            lambda: Connection(self._front),
            lambda: self._config.server.proxy_protocol_from,
            login_timeout=server.sign_in_timeout.total_seconds(),
            keepalive_interval=KEEPALIVE_INTERVAL,
            **server_options(post_quantum_only=server.post_quantum_only),
        )
        await self._reload_authorities()
        try:
            port = await self._listener.start(server.address, server.port)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on port {server.port}: {error.strerror}",
                hint="Choose another address or port in the section [server].",
            ) from error
        log.info("server.ready", port=port, issuer=self._provider.settings.issuer)
        return Ready(port=port, issuer=self._provider.settings.issuer)

    def reload(self) -> None:
        """Read the configuration again; a bad one changes nothing. Listener and folders stay as they are."""
        self._files = _stamps(self._path)
        try:
            config = load(self._path)
            issuer = self._issuer(config)
        except BastionError as error:
            log.error("config.reload-refused", reason=error.message, hint=error.hint)
            return
        before, after = _read_at_start(self._config), _read_at_start(config)
        if kept := [name for name in READ_AT_START if before[name] != after[name]]:
            log.warning("config.restart-needed", sections=kept)
        self._config = config
        if issuer != self._provider.settings:
            self._provider = Provider(issuer)
        log.info("config.reloaded", targets=len(config.targets), rules=len(config.policy.rules))

    async def drain(self, hurry: asyncio.Event) -> None:
        """Accept no more connections, and give sessions time to finish; *hurry* cuts it short."""
        if self._listener is not None:
            self._listener.close()
        self._front.admission.close()
        if not self._live:
            return
        log.info("server.draining", sessions=len(self._live))
        timeout = self._config.server.drain_timeout
        for session in self._live.all():
            session.drain(timeout)
        async with asyncio.TaskGroup() as group:
            idle = group.create_task(self._live.wait_idle(timeout.total_seconds()))
            hurried = group.create_task(hurry.wait())
            await asyncio.wait([idle, hurried], return_when=asyncio.FIRST_COMPLETED)
            idle.cancel()
            hurried.cancel()

    async def stop(self) -> None:
        """End what still runs, and every connection."""
        if self._listener is not None:
            self._listener.close()
        for session in self._live.all():
            session.stop(
                Outcome(ending="server stopped", message="the bastion is being stopped", exit_code=75)
            )
        await self._live.wait_idle(END_TIMEOUT)
        # Clients leave by themselves once they have heard how their session ended; the others are cut off.
        await self._supervisor.wait(LEAVE_TIMEOUT)
        await self._supervisor.close(END_TIMEOUT)
        log.info("server.stopped")

    async def follow_state(self) -> None:
        """Act on what commands change: revocations, locks, rotated keys; and targets, which they note in the audit.

        Runs until it is cancelled. Whatever it raises is a bug, and then the server must not go on: it would not notice
        that somebody was locked out.
        """
        while True:
            await asyncio.sleep(STATE_POLL)
            try:
                await self._look_at_state()
            except (BastionError, RecorderError, OSError) as error:
                # A key or a file that cannot be read must not stop us from noticing revocations.
                log.error("state.not-followed", reason=str(error))

    async def apply_retention(self) -> None:
        """Remove recordings once a day as the rules say. Runs until it is cancelled."""
        await apply_daily(lambda: self._config, self._state, self._store.index, now=self._now)

    async def _look_at_state(self) -> None:
        self._is_behind = await self._state.changed() or self._is_behind
        is_due = self._is_behind or self._now() >= self._next_reload
        if self._is_behind:
            await self._front.end_withdrawn_sessions()
            await self._end_requested_sessions()
            self._is_behind = False  # only now: what failed above is tried again
            if _stamps(self._path) != self._files:
                self.reload()
        if is_due:
            await self._reload_authorities()
            self._reload_recorder_key()

    async def _end_requested_sessions(self) -> None:
        requested = {stop.session: stop for stop in await self._state.stops.take()}
        for session in self._live.all():
            if (stop := requested.get(session.id)) is not None:
                log.warning("session.ended-by-operator", session=session.id, by=stop.by)
                session.stop(Outcome(ending="ended by operator", message=stop.message, exit_code=77))

    async def _reload_authorities(self) -> None:
        assert self._listener is not None
        await self._authorities.reload()
        await self._listener.present(self._authorities.host_identity())
        self._next_reload = min(self._now() + AUTHORITIES_RELOAD, self._authorities.due_at)

    def _reload_recorder_key(self) -> None:
        file = self._config.recorder_key_file
        key = SigningKey.load(file)
        if key.id != self._store.key_id:
            self._store.use_key(key, published_keys(file))
            log.info("recorder-key.changed", key=key.id)

    def _issuer(self, config: Config) -> Issuer:
        if config.issuers:
            return config.issuers[0]
        if self._development is not None:
            return self._development.client_settings
        raise ConfigError("nobody can sign in: no issuer is configured", hint="Add an [[issuers]] section.")


def _read_at_start(config: Config) -> dict[str, object]:
    settings: dict[str, object] = {name: getattr(config, name) for name in READ_AT_START}
    settings["recording"] = config.recording.model_copy(update={"retention": None})  # read for each run
    return settings


def _stamps(path: Path) -> dict[Path, int]:
    """When each file of the configuration was last written, in nanoseconds."""
    files = [path, *(path.parent / TARGETS_FOLDER).glob("*.toml")]
    return {file: file.stat().st_mtime_ns for file in files if file.exists()}


def report_failure(task: str, error: BaseException) -> None:
    """Log what a supervised task did not handle: a bug, whose connection is gone, and nobody else's."""
    log.error("task.failed", task=task, exc_info=error)


@asynccontextmanager
async def opened(path: Path, *, now: Callable[[], float] = time.time) -> AsyncIterator[Bastion]:
    """A bastion with all its stores open, not yet listening; leaving the block closes them."""
    examination = examine(path)
    config = usable(examination)
    configure_logs(config.log.format, config.log.level)
    for warning in examination.warnings:
        log.warning("config.warning", problem=str(warning))
    check_modes(config)
    await asyncio.to_thread(warn_without_psql, config.targets)
    async with AsyncExitStack() as stack:
        state = await State.open(config.state_file, now)
        stack.push_async_callback(state.close)
        authorities = await Authorities.open(
            config.keys_folder, state, config.certificates, config.server.public_name, now
        )
        key = SigningKey.load(config.recorder_key_file)
        store = await Store.open(
            config.recordings_folder,
            key=key,
            trusted=published_keys(config.recorder_key_file),
            durability=config.recording.durability,
            is_searchable=config.recording.search,
            recipients=Recipients.parse(config.recording.encrypt_to),
            keeps_encrypted_text=config.recording.search_encrypted,
            now=now,
        )
        stack.push_async_callback(store.close)
        for row in await store.recover():
            await state.audit.record("recording.recovered", user=row.user, session=row.id)
        await asyncio.to_thread(
            shutil.rmtree, config.run_folder, ignore_errors=True
        )  # of sessions that are gone
        development: DevelopmentIssuer | None = None
        if config.development_issuer is not None:
            development = DevelopmentIssuer(config.development_issuer, now=now)
            await development.start()
            stack.push_async_callback(development.close)
        yield Bastion(
            path,
            config,
            state=state,
            authorities=authorities,
            store=store,
            development=development,
            now=now,
        )


async def serve(path: Path, *, on_ready: Callable[[Ready], None] = lambda ready: None) -> None:
    """Run a bastion until SIGTERM or SIGINT; SIGHUP reads the configuration again."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    stopping, hurry = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurry if stopping.is_set() else stopping).set()

    async with opened(path) as bastion:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGHUP, bastion.reload)
        try:
            ready = await bastion.start()
            # What a server is made of lives as long as it does: to look through all that for garbage would stop
            # every session for a tenth of a second, again and again.
            gc.collect()
            gc.freeze()
            on_ready(ready)
            async with asyncio.TaskGroup() as group:
                following = group.create_task(bastion.follow_state())
                removing = group.create_task(bastion.apply_retention())
                await stopping.wait()
                await bastion.drain(hurry)
                following.cancel()
                removing.cancel()
        finally:
            await bastion.stop()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
