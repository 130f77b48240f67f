"""Certificates that are not good enough: each is refused with its reason, told and written to the audit log."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import asyncssh
import pytest

from tests.rig.openssh import Client
from tests.rig.world import World
from tests.server.recorded import events

NO_PASSWORDS = ("-o", "NumberOfPasswordPrompts=1", "-o", "PreferredAuthentications=publickey")


def user_ca(world: World) -> asyncssh.SSHKey:
    """The private key of the user CA, as a thief of the keys folder would have it."""
    private = [path for path in (world.data / "keys").glob("user-ca-*") if path.suffix != ".pub"]
    return asyncssh.read_private_key(private[0])


def own_serial(client: Client) -> int:
    """The serial of the certificate that *client* was given."""
    certificate = asyncssh.read_certificate(client.certificate)
    return int(certificate._serial)  # type: ignore[attr-defined]


@pytest.fixture
def forged(world: World) -> Callable[..., Client]:
    """Make a client whose certificate was signed with the real CA key, but says something else."""
    number = iter(range(100))

    def make(
        *,
        serial: int | None = None,
        principals: Sequence[str] = ("alice",),
        authority: asyncssh.SSHKey | None = None,
        valid_before: float | None = None,
    ) -> Client:
        genuine = world.certified("alice")
        client = world.client(f"forger-{next(number)}")
        for name in ("id_ed25519", "id_ed25519.pub"):
            (client.folder / name).write_bytes((genuine.folder / name).read_bytes())
        certificate = (authority or user_ca(world)).generate_user_certificate(
            asyncssh.read_public_key(f"{client.key}.pub"),
            "u:alice/forged",
            serial=own_serial(genuine) if serial is None else serial,
            principals=list(principals),
            valid_after=int(time.time()) - 600,
            valid_before=int(valid_before or time.time() + 600),
            permit_pty=True,
        )
        client.certificate.write_bytes(certificate.export_certificate())
        return client

    return make


def refusal(client: Client) -> str:
    """What the person reads; the client must not get in."""
    done = client.run(*NO_PASSWORDS, "web-1@localhost", "true")
    assert done.status == 255
    return done.errors


def test_certificate_that_is_copied_letter_by_letter_gets_in(forged: Callable[..., Client]) -> None:
    """The battery would prove nothing if its forgery had another flaw."""
    assert forged().run("web-1@localhost", "true").status == 0


def test_unknown_serial_is_refused_though_the_real_ca_signed_it(
    forged: Callable[..., Client], world: World
) -> None:
    assert "knows no sign-in with this serial" in refusal(forged(serial=4711))
    assert events(world, "sign-in.certificate-refused")[0]["detail"]["serial"] == f"{4711:016x}"


def test_certificate_for_another_principal_is_refused(forged: Callable[..., Client], world: World) -> None:
    assert "it is for another principal than alice" in refusal(forged(principals=["bob"]))
    assert "another principal" in events(world, "sign-in.certificate-refused")[0]["detail"]["reason"]


def test_certificate_with_a_second_principal_is_refused(forged: Callable[..., Client]) -> None:
    assert "another principal" in refusal(forged(principals=["alice", "root"]))


def test_certificate_without_principals_is_refused(forged: Callable[..., Client], world: World) -> None:
    assert "it names nobody (empty principals)" in refusal(forged(principals=[]))
    assert "empty principals" in events(world, "sign-in.certificate-refused")[0]["detail"]["reason"]


def test_certificate_outside_its_own_dates_is_refused(forged: Callable[..., Client]) -> None:
    assert "outside its own dates" in refusal(forged(valid_before=time.time() - 60))


def test_certificate_for_somebody_elses_key_is_refused(forged: Callable[..., Client], world: World) -> None:
    client = forged()
    stranger = world.client("stranger")
    certificate = user_ca(world).generate_user_certificate(
        asyncssh.read_public_key(f"{stranger.key}.pub"),
        "u:alice/forged",
        serial=own_serial(client),
        principals=["alice"],
        valid_before="+10m",
    )
    stranger.certificate.write_bytes(certificate.export_certificate())
    assert "another key than the one that signed in" in refusal(stranger)


def test_certificate_of_a_foreign_ca_is_refused_and_the_sign_in_says_why(
    forged: Callable[..., Client], world: World
) -> None:
    client = forged(authority=asyncssh.generate_private_key("ssh-ed25519"))
    assert "Permission denied" in refusal(client)
    assert "not signed by this bastion" in events(world, "sign-in.certificate-refused")[0]["detail"]["reason"]
    ssh = client.popen("-T", "web-1@localhost", "true")
    assert ssh.stdout is not None and ssh.stderr is not None and ssh.stdin is not None
    shown = ""
    while not re.search("[A-Z]{4}-[A-Z]{4}", shown):
        line = ssh.stderr.readline().decode()
        assert line, shown
        shown += line
    ssh.kill()
    ssh.communicate()
    assert "it was not signed by this bastion" in shown


def test_expired_sign_in_is_refused_and_says_when(own_world: World) -> None:
    own_world.configure('[certificates]\nlifetime = "5m"', restart=True)
    alice = own_world.certified("alice")
    assert alice.run("web-1@localhost", "true").status == 0
    with (
        closing(sqlite3.connect(own_world.data / "state.db")) as database,
        database,
    ):  # rather than wait five minutes
        database.execute("UPDATE grants SET valid_before = ?", (int(time.time()) - 1,))
    assert "This sign-in expired at" in refusal(alice)


def test_session_is_told_when_its_sign_in_expires_and_its_connection_opens_no_other(own_world: World) -> None:
    alice, mux = own_world.certified("alice"), own_world.folder / "mux"
    with closing(sqlite3.connect(own_world.data / "state.db")) as database, database:
        database.execute("UPDATE grants SET valid_before = ?", (int(time.time()) + 8,))
    session = alice.popen("-M", "-S", str(mux), "web-1@localhost", "read line; echo $line")
    assert session.stdin and session.stderr
    try:
        assert session.stderr.readline() == (
            b"bastion: your sign-in has expired: this session goes on, new ones need another sign-in\n"
        )
        other = alice.run("-S", str(mux), "web-1@localhost", "true")
        assert (other.status, "This sign-in expired at" in other.errors) == (77, True)
        session.stdin.write(b"on and on\n")
        out, _ = session.communicate(timeout=15)
        assert (session.returncode, out) == (0, b"on and on\n")
    finally:
        session.kill()


def test_revoked_certificate_is_refused_with_the_reason(own_world: World) -> None:
    alice = own_world.certified("alice")
    assert own_world.bastion.run("cert", "revoke", "alice", "--reason", "laptop stolen").status == 0
    assert "was revoked" in refusal(alice)
    assert "laptop stolen" in refusal(alice)


def test_bare_key_without_a_certificate_is_nobody(world: World) -> None:
    client = world.client("nobody")
    assert "Permission denied" in refusal(client)
    assert client.run(*NO_PASSWORDS, "alice@localhost", "true").status == 255
