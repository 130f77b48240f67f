"""Issuing to people, signing onward, and showing who the bastion is."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from bastion.ca.authorities import Authorities
from bastion.ca.lines import known_hosts_line
from bastion.ca.rotation import rotate
from bastion.config.model import Certificates
from bastion.errors import SignInError, StateError
from bastion.state.store import State
from tests.ca.openssh import shown
from tests.state.samples import START, Clock, a_grant

ALICE = asyncssh.generate_private_key("ssh-ed25519")


def read(certificate: asyncssh.SSHCertificate) -> SSHCertificate:
    found = load_ssh_public_identity(certificate.export_certificate())
    assert isinstance(found, SSHCertificate)
    return found


async def test_an_issued_certificate_says_what_its_grant_says(
    authorities: Authorities, state: State, tmp_path: Path
) -> None:
    certificate, grant = await authorities.issue(ALICE, a_grant("alice", serial=0x2A))
    found = shown(certificate, tmp_path)
    assert found["Serial"] == ["42"]
    assert found["Key ID"] == ['"u:alice/s:2a/i:corp"']
    assert found["Principals"] == ["alice"]
    assert found["Valid"] == ["from 2027-01-15T07:59:00 to 2027-01-15T16:00:00"]
    assert found["Extensions"] == ["permit-pty"]
    assert found["Critical Options"] == ["(none)"]
    assert await state.grants.get(42) == grant
    assert grant.key_fingerprint == ALICE.get_fingerprint()
    assert [key.id for key in await state.ca_keys.list("user")] == [grant.ca_key_id]


async def test_what_is_issued_is_trusted_and_other_keys_are_not(
    authorities: Authorities, state: State
) -> None:
    (user,), (target,) = await state.ca_keys.list("user"), await state.ca_keys.list("target")
    assert authorities.trusts_user_ca(asyncssh.import_public_key(user.public).public_data)
    assert not authorities.trusts_user_ca(asyncssh.import_public_key(target.public).public_data)
    assert not authorities.trusts_user_ca(ALICE.public_data)
    assert not authorities.trusts_user_ca(b"")


async def test_nothing_is_signed_for_a_serial_that_is_taken(authorities: Authorities, state: State) -> None:
    await authorities.issue(ALICE, a_grant("alice", serial=7))
    with pytest.raises(StateError):
        await authorities.issue(ALICE, a_grant("mallory", serial=7))
    (grant,) = await state.grants.list()
    assert grant.user == "alice"


async def test_no_grant_is_left_for_a_key_that_is_too_weak(authorities: Authorities, state: State) -> None:
    with pytest.raises(SignInError):
        await authorities.issue(asyncssh.generate_private_key("ssh-rsa", key_size=1024), a_grant())
    assert await state.grants.list(live_only=False) == []


async def test_forwarding_is_permitted_when_granted(authorities: Authorities, tmp_path: Path) -> None:
    permits = frozenset({"permit-pty", "permit-port-forwarding"})
    certificate, _ = await authorities.issue(ALICE, a_grant(), permits)  # type: ignore[arg-type]
    assert shown(certificate, tmp_path)["Extensions"] == ["permit-port-forwarding", "permit-pty"]


async def test_issuing_follows_a_rotation_that_another_process_made_a_moment_ago(
    authorities: Authorities, state: State, keys: Path, clock: Clock, tmp_path: Path
) -> None:
    """The server has not looked at the state since, and must not sign under a key whose end is already fixed."""
    async with await State.open(tmp_path / "data" / "state.db", clock) as command:
        done = await rotate("user", keys, command, clock, by="root")
    certificate, grant = await authorities.issue(ALICE, a_grant())
    assert grant.ca_key_id == done.new.id
    new = asyncssh.import_public_key(done.new.public)
    assert new.get_fingerprint() in shown(certificate, tmp_path)["Signing CA"][0]


async def test_every_onward_session_has_a_key_of_its_own_and_a_certificate_of_minutes(
    authorities: Authorities, tmp_path: Path
) -> None:
    ((key, certificate),) = await authorities.onward("deploy", "u:alice/s:270115-k7f3m9q", serial=42)
    found = shown(certificate.export_certificate(), tmp_path)
    assert found["Principals"] == ["deploy"]
    assert found["Key ID"] == ['"u:alice/s:270115-k7f3m9q"']
    assert found["Serial"] == ["42"]
    assert found["Valid"] == ["from 2027-01-15T07:59:00 to 2027-01-15T08:05:00"]
    assert found["Extensions"] == ["permit-pty"]
    ((other, _),) = await authorities.onward("deploy", "u:alice/s:270115-k7f3m9q")
    assert key.public_data != other.public_data
    assert certificate.key.public_data == key.public_data


async def test_the_host_certificate_names_the_host_alone_and_is_renewed_at_half_its_life(
    authorities: Authorities, clock: Clock
) -> None:
    ((key, first),) = authorities.host_identity()
    found = read(first)
    assert found.valid_principals == [b"localhost"]
    assert (found.valid_after, found.valid_before) == (START - 60, START + 30 * 86400)
    assert found.extensions == {}

    clock.advance(days=14)
    await authorities.reload()
    assert authorities.host_identity() == [(key, first)]
    assert START + 14 * 86400 < authorities.due_at < START + 15 * 86400

    clock.advance(days=1)
    await authorities.reload()
    ((same_key, second),) = authorities.host_identity()
    assert same_key.public_data == key.public_data
    assert read(second).valid_before == START + 45 * 86400


async def test_a_restart_shows_the_same_host_certificate_and_another_name_a_new_one(
    authorities: Authorities, state: State, keys: Path, clock: Clock
) -> None:
    again = await Authorities.open(keys, state, Certificates(), "localhost", clock)
    assert again.host_identity()[0][1] == authorities.host_identity()[0][1]
    renamed = await Authorities.open(keys, state, Certificates(), "bastion.example", clock)
    assert read(renamed.host_identity()[0][1]).valid_principals == [b"bastion.example"]


async def test_target_is_answered_for_with_the_same_key_under_its_short_and_its_long_name(
    authorities: Authorities, clock: Clock
) -> None:
    ((own, _),), ((key, certificate),) = (
        authorities.host_identity(),
        await authorities.host_identity_for("web-1"),
    )
    assert key.public_data == own.public_data
    assert read(certificate).valid_principals == [b"web-1", b"web-1.localhost"]
    clock.advance(days=16)  # more than half of its life
    ((_, renewed),) = await authorities.host_identity_for("web-1")
    assert read(renewed).valid_before > read(certificate).valid_before


@pytest.mark.parametrize("trusted", [True, False])
async def test_openssh_trusts_the_host_by_the_line_for_known_hosts_and_not_without(
    state: State, keys: Path, tmp_path: Path, trusted: bool
) -> None:
    authorities = await Authorities.open(keys, state, Certificates(), "localhost", time.time)
    (host,), (user,) = await state.ca_keys.list("host"), await state.ca_keys.list("user")
    async with asyncssh.listen("localhost", 0, server_host_keys=authorities.host_identity()) as server:
        port = server.get_port()
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(known_hosts_line(host if trusted else user, "localhost", port) + "\n")
        ssh = await asyncio.create_subprocess_exec(
            "ssh", "-F", "none", "-p", str(port), "-o", f"UserKnownHostsFile={known_hosts}",
            "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes",
            "-o", "IdentityAgent=none", "nobody@localhost", "true",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await ssh.communicate()
    words = errors.decode()
    assert ("Permission denied" in words) == trusted, words
    assert ("Host key verification failed" in words) != trusted, words


async def test_the_due_time_is_the_first_of_what_happens_by_itself(
    authorities: Authorities, state: State, keys: Path, clock: Clock
) -> None:
    await rotate("target", keys, state, clock, by="root", overlap=timedelta(hours=1))
    await authorities.reload()
    assert authorities.due_at == START + 3600
