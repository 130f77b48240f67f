"""Targets that mean harm, or hang: a session with one ends in bounded time, with words that are safe to show."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncssh
import pytest

from tests.rig.openssh import Client
from tests.rig.process import wait_until
from tests.rig.world import World
from tests.server.raw_client import connect
from tests.server.recorded import rows, wait_for_ending


@pytest.fixture
def alice(world: World) -> Client:
    return world.certified("alice")


class Welcoming(asyncssh.SSHServer):
    """Lets everybody in; *on_session* says what becomes of a session."""

    on_session: Callable[[], Any]

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return True

    def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return True

    def session_requested(self) -> Any:
        return self.on_session()


@contextmanager
def target(world: World, name: str, on_session: Callable[[], Any]) -> Iterator[None]:
    """Serve a target *name* from a thread of this process, and let the running bastion know it."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def make() -> Welcoming:
        server = Welcoming()
        server.on_session = on_session
        return server

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(make, "127.0.0.1", 0, server_host_keys=[key], encoding=None)

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    file = world.folder / "targets.d" / f"{name}.toml"
    try:
        public = key.export_public_key().decode().strip()
        file.write_text(
            f'[[targets]]\nname = "{name}"\naddress = "127.0.0.1"\nport = {server.get_port()}\n'
            f'login = "deploy"\nhost_keys = ["{public}"]\nconnect_timeout = "2s"\n'
        )
        world.reload()
        yield
    finally:
        file.unlink()
        os.kill(world.bastion.pid, signal.SIGHUP)

        async def end() -> None:
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def test_target_that_never_opens_the_session_is_given_up(world: World, alice: Client) -> None:
    with target(world, "web-hung", lambda: asyncio.get_running_loop().create_future()):
        done = alice.run("web-hung@localhost", "true", timeout=20)
    assert done.status == 255
    assert "web-hung did not open the session within 2 seconds" in done.errors
    assert rows(world)[0]["ending"] == "target refused"


def test_reason_that_a_target_gives_is_shown_without_its_control_characters(
    world: World, alice: Client
) -> None:
    def refuse() -> Any:
        raise asyncssh.ChannelOpenError(
            asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "\x1b]0;owned\x07\x1b[2Jno"
        )

    with target(world, "web-evil", refuse):
        done = alice.run("web-evil@localhost", "true", timeout=20)
        listed = alice.run("localhost", "sessions")
    assert done.status == 255
    assert "refused to open the session" in done.errors
    assert b"\x1b" not in done.stderr
    assert b"\x07" not in done.stderr
    assert b"\x1b" not in listed.stdout
    assert "\x1b" not in world.bastion.log


class Garrulous(asyncssh.SSHServerSession[bytes]):
    """Sends what nobody expects of a target, and goes."""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self.channel = chan

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        return True

    def session_started(self) -> None:
        self.channel.write(b"\xff\x00out\x1b[31m")
        self.channel.exit_with_signal("\x1b[31mHUP", False, "evil\x1b[2J\nmessage" * 1000)


def test_target_that_ends_by_a_signal_nobody_knows_is_recorded_and_passed_on(
    world: World, alice: Client
) -> None:
    with target(world, "web-odd", Garrulous):
        done = alice.run("web-odd@localhost", "true", timeout=20)
        assert done.stdout == b"\xff\x00out\x1b[31m"
        row = wait_for_ending(world, "killed")
    assert world.bastion.run("verify", str(row["id"])).status == 0
    assert "task.failed" not in world.bastion.log
    assert "\x1b" not in world.bastion.run("sessions").text


class Listening(Garrulous):
    """Says what it hears beside input, and ends when it hears HUP."""

    def session_started(self) -> None:
        self.channel.write(b"ready\n")

    def signal_received(self, signal: str) -> None:
        self.channel.write(f"signal {signal}\n".encode())
        if signal == "HUP":
            self.channel.exit(3)

    def break_received(self, msec: int) -> bool:
        self.channel.write(f"break {msec}\n".encode())
        return True


async def test_signals_and_breaks_reach_the_target_in_their_order(world: World, alice: Client) -> None:
    """OpenSSH's sshd takes signals only with privileges that the targets of the tests have not."""
    with target(world, "web-listens", Listening):
        async with await connect(world, alice, "web-listens") as connection:
            process = await connection.create_process(encoding=None)
            assert await process.stdout.readline() == b"ready\n"
            process.send_signal("USR1")
            process.channel.send_break(500)
            process.send_signal("HUP")
            done = await process.wait()
        assert (done.stdout, done.exit_status) == (b"signal USR1\nbreak 500\nsignal HUP\n", 3)


def test_client_that_leaves_while_the_target_hangs_leaves_no_session(world: World, alice: Client) -> None:
    with target(world, "web-slow", lambda: asyncio.get_running_loop().create_future()):
        ssh = alice.popen("web-slow@localhost", "true")
        wait_until(lambda: rows(world)[0]["target"] == "web-slow", "the session")
        ssh.kill()
        ssh.communicate()
        wait_until(lambda: rows(world)[0]["ending"] != "live", "its end")


def test_session_that_waits_for_a_silent_target_can_be_ended(alice: Client, world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        file = world.folder / "targets.d" / "silent.toml"
        file.write_text(
            f'[[targets]]\nname = "web-silent"\naddress = "127.0.0.1"\nport = {silent.getsockname()[1]}\n'
            f'login = "deploy"\nhost_keys = ["{world.web_1.host_key}"]\nconnect_timeout = "100s"\n'
        )
        world.reload()
        ssh = alice.popen("web-silent@localhost", "true")
        silent.settimeout(20)
        connection, _ = silent.accept()
        try:
            assert world.bastion.run("kill", rows(world)[0]["id"], "--message", "not today").status == 0
            _, error = ssh.communicate(timeout=20)
        finally:
            connection.close()
            file.unlink()
        assert b"not today" in error
        assert rows(world)[0]["ending"] == "ended by operator"
