"""How people get in: by a code in the terminal, by a certificate, with many keys; and how they do not."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sqlite3
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncssh
import pexpect
import pytest

from tests import browser
from tests.rig.openssh import Client
from tests.rig.process import end, wait_for_end, wait_until
from tests.rig.world import USER_CODE, World
from tests.server.raw_client import shown
from tests.server.recorded import events, rows


@pytest.fixture
def stranger(world: World, request: pytest.FixtureRequest) -> Client:
    """Somebody who has a key and no certificate."""
    return world.client(request.node.name[:60].strip("["))


@pytest.fixture
def alice(world: World) -> Client:
    return world.certified("alice")


def expect_code(ssh: pexpect.spawn[str]) -> str:
    ssh.expect(r"\s([A-Z]{4}-[A-Z]{4})\s")
    assert isinstance(ssh.match, re.Match)
    return str(ssh.match[1])


def sign_in_in_terminal(ssh: pexpect.spawn[str], world: World, person: str) -> None:
    world.approve(expect_code(ssh), person)


# By a code


def test_code_lets_in_and_the_session_opens_in_the_same_command(world: World, stranger: Client) -> None:
    ssh = stranger.spawn("-t", "web-1@localhost", "echo in:$USER; read line")
    try:
        sign_in_in_terminal(ssh, world, "alice")
        ssh.expect("in:deploy")
    finally:
        ssh.close(force=True)
    assert events(world, "sign-in.accepted")[0]["detail"]["method"] == "device"


def test_person_is_who_signed_in_and_never_who_the_user_name_says(world: World, stranger: Client) -> None:
    ssh = stranger.spawn("-t", "alice@localhost", "whoami")
    try:
        sign_in_in_terminal(ssh, world, "bob")
        ssh.expect(r"user\s+bob")
    finally:
        ssh.close(force=True)


def test_sign_in_that_is_denied_ends_the_connection_with_a_word(world: World, stranger: Client) -> None:
    ssh = stranger.spawn("web-1@localhost", "true")
    try:
        asyncio.run(browser.deny_device(world.bastion.issuer, expect_code(ssh)))
        ssh.expect("denied in the browser")
        wait_for_end(ssh)
    finally:
        ssh.close(force=True)
    assert ssh.exitstatus == 255
    assert "denied" in events(world, "sign-in.refused")[0]["detail"]["reason"]


def test_clients_that_are_killed_while_they_wait_give_their_places_back(
    world: World, stranger: Client
) -> None:
    for _ in range(5):  # three may wait from one address
        ssh = stranger.spawn("web-1@localhost", "true")
        expect_code(ssh)
        ssh.kill(signal.SIGKILL)
        ssh.close(force=True)
    for _ in range(5):
        waiting = stranger.popen("-T", "login@localhost")
        assert waiting.stderr
        shown = b""
        while not USER_CODE.search(shown.decode()):
            line = waiting.stderr.readline()
            assert line, shown
            shown += line
        waiting.kill()
        waiting.communicate()


def test_batch_mode_fails_at_once_without_a_code(stranger: Client) -> None:
    done = stranger.run("-o", "BatchMode=yes", "web-1@localhost", "true")
    assert done.status == 255
    assert "Permission denied" in done.errors


def test_nothing_secret_stands_in_the_log(world: World, stranger: Client) -> None:
    world.sign_in(stranger, "alice")
    log = world.bastion.log
    assert "sign-in.accepted" in log
    certificate = stranger.certificate.read_text().split()[1]
    for secret in (certificate, "eyJ", "PRIVATE KEY", "device_code=", "id_token=", "access_token="):
        assert secret not in log
    for file in (world.data / "keys").iterdir():
        lines = file.read_text(errors="replace").splitlines()
        if "PRIVATE" in file.read_text(errors="replace"):
            assert not any(line in log for line in lines if len(line) > 40)


# With keys


def make_key(path: Path, *arguments: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-N", "", "-f", str(path), *arguments], check=True, stdin=subprocess.DEVNULL
    )


def test_first_key_is_refused_and_the_second_has_the_certificate(
    world: World, alice: Client, tmp_path: Path
) -> None:
    make_key(tmp_path / "other", "-t", "ed25519")
    done = alice.run("-i", str(tmp_path / "other"), "-i", str(alice.key), "web-1@localhost", "echo in")
    assert (done.status, done.stdout) == (0, b"in\n")


def test_agent_full_of_keys_does_not_lock_out(alice: Client, tmp_path: Path) -> None:
    started = subprocess.run(
        ["ssh-agent", "-s", "-a", str(tmp_path / "agent")], check=True, capture_output=True
    )
    pid = int(started.stdout.decode().split("SSH_AGENT_PID=")[1].split(";")[0])
    try:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(tmp_path / "agent")}
        for number in range(10):
            make_key(tmp_path / f"k{number}", "-t", "ed25519")
        keys = [str(tmp_path / f"k{number}") for number in range(10)] + [str(alice.key)]
        subprocess.run(["ssh-add", "-q", *keys], check=True, env=environment)
        done = alice.run(
            "-o",
            f"IdentityAgent={tmp_path / 'agent'}",
            "-o",
            "IdentitiesOnly=no",
            "web-1@localhost",
            "echo in",
        )
        assert done.stdout == b"in\n"
    finally:
        os.kill(pid, signal.SIGTERM)


def test_weak_key_gets_no_certificate_and_is_told_what_to_do(
    world: World, stranger: Client, tmp_path: Path
) -> None:
    key = asyncssh.generate_private_key("ssh-rsa", key_size=1024)
    (tmp_path / "weak").write_bytes(key.export_private_key("openssh"))
    (tmp_path / "weak").chmod(0o600)
    done = stranger.run(
        "-o", f"IdentityFile={tmp_path / 'weak'}", "-o", "RequiredRSASize=1024", "-o", "IdentitiesOnly=yes",
        "-F", "/dev/null", "-p", str(world.bastion.port), "-o", "StrictHostKeyChecking=no",
        "-o", f"UserKnownHostsFile={stranger.known_hosts}", "-o", "IdentityAgent=none", "login@localhost",
    )  # fmt: skip
    assert done.status == 255
    assert done.stdout == b""
    assert "ssh-keygen -t ed25519" in done.errors


def test_login_without_any_key_says_how_to_make_one(world: World, stranger: Client) -> None:
    done = stranger.run("-o", "PubkeyAuthentication=no", "login@localhost")
    assert done.status == 255
    assert "ssh-keygen -t ed25519" in done.errors


def test_bare_key_opens_nothing_but_login(world: World, stranger: Client) -> None:
    for command in ("whoami", "sessions", "web-1 true", "targets"):
        done = stranger.run("login@localhost", command)
        assert done.status == 77
        assert done.stdout == b""
        assert "login takes no arguments" in done.errors


async def test_user_name_changed_on_the_way_gives_nobody_elses_rights(world: World, alice: Client) -> None:
    key = asyncssh.read_private_key(str(alice.key))
    certificate = asyncssh.read_certificate(str(alice.certificate))

    class Changing(asyncssh.SSHClient):
        def auth_banner_received(self, msg: str, lang: str) -> None: ...

        def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
            self.connection = conn
            self.offers = [(key, certificate)]

        def public_key_auth_requested(self) -> Any:
            self.connection._username = "root"
            return self.offers.pop() if self.offers else None

    async with asyncssh.connect(
        "127.0.0.1", world.bastion.port, username="bob", client_factory=Changing, known_hosts=None, config=None,
        agent_path=None, client_keys=None,
    ) as connection:  # fmt: skip
        done = await connection.run("whoami", encoding=None)
        assert b"alice" in shown(done)


# What was let in once, and stands no longer


def test_connection_that_signed_out_opens_no_command_of_ours(world: World) -> None:
    carol = world.client("carol-leaves")
    world.sign_in(carol, "carol")
    control = world.folder / "mux-carol"
    master = carol.popen("-N", "-M", "-S", str(control), "x@localhost")
    try:
        wait_until(control.exists, "the master connection")
        assert carol.run("-S", str(control), "x@localhost", "sessions").status == 0
        assert carol.run("-S", str(control), "x@localhost", "logout").status == 0
        for command in ("sessions", "targets", "whoami", "play x", "menu", ""):
            done = carol.run("-S", str(control), "x@localhost", *([command] if command else []))
            assert done.status == 77, command
            assert done.stdout == b""
            assert "was revoked" in done.errors
    finally:
        end(master)


# Strange arrivals


def test_scanner_that_is_gone_before_it_is_accepted_leaves_no_trace(world: World, alice: Client) -> None:
    os.kill(world.bastion.pid, signal.SIGSTOP)
    try:
        for _ in range(30):
            with socket.create_connection(("127.0.0.1", world.bastion.port)) as scanner:
                scanner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    finally:
        os.kill(world.bastion.pid, signal.SIGCONT)
    assert alice.run("web-1@localhost", "true").status == 0
    assert "Traceback" not in world.bastion.log


# When parts of the bastion fail


@pytest.fixture
def broken_state(own_world: World) -> Iterator[sqlite3.Connection]:
    """The state database of the running bastion, to be broken."""
    with closing(sqlite3.connect(own_world.data / "state.db", isolation_level=None)) as database:
        yield database


def test_state_that_fails_lets_nobody_in_and_leaves_nothing_open(
    own_world: World, broken_state: sqlite3.Connection
) -> None:
    alice = own_world.certified("alice")
    assert alice.run("web-1@localhost", "true").status == 0
    before = len(list(Path(f"/proc/{own_world.bastion.pid}/fd").iterdir()))
    broken_state.execute("ALTER TABLE audit_events RENAME TO hidden_events")
    refused = alice.run("web-1@localhost", "echo never")
    broken_state.execute("ALTER TABLE hidden_events RENAME TO audit_events")
    assert (refused.status, refused.stdout) == (74, b"")
    assert "state database failed" in refused.errors
    assert rows(own_world)[0]["ending"] == "failed"
    broken_state.execute("ALTER TABLE grants RENAME TO hidden_grants")
    nobody = alice.run("web-1@localhost", "echo never")
    broken_state.execute("ALTER TABLE hidden_grants RENAME TO grants")
    assert (nobody.status, nobody.stdout) == (255, b"")
    assert "nobody can be let in at the moment" in nobody.errors
    assert "sign-in.not-judged" in own_world.bastion.log
    assert alice.run("web-1@localhost", "echo again").stdout == b"again\n"
    wait_until(
        lambda: len(list(Path(f"/proc/{own_world.bastion.pid}/fd").iterdir())) <= before, "no open file more"
    )


def test_certificates_go_on_working_while_the_provider_is_down(own_world: World) -> None:
    alice = own_world.certified("alice")
    config = own_world.bastion.config
    config.write_text(
        config.read_text()
        + '\n[[issuers]]\nalias = "dead"\nissuer = "http://127.0.0.1:9/"\nclient_id = "bastion"\n'
    )
    os.kill(own_world.bastion.pid, signal.SIGHUP)
    wait_until(lambda: "config.reload" in own_world.bastion.log, "the configuration read again")
    assert "config.reload-refused" not in own_world.bastion.log, own_world.bastion.log[-2000:]
    assert alice.run("web-1@localhost", "echo in").stdout == b"in\n"
    bob = own_world.client("bob")
    ssh = bob.spawn("web-1@localhost", "true")
    try:
        ssh.expect("certificates that are still valid keep working")
        wait_for_end(ssh)
    finally:
        ssh.close(force=True)
