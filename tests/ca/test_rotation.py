"""Rotation: who is trusted, who signs, until when, and what is left on the disk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest
from asyncssh.public_key import load_keypairs

from bastion.ca.authorities import Authorities
from bastion.ca.keys import private_path
from bastion.ca.lines import install_lines
from bastion.ca.rotation import Rotation, rotate
from bastion.ca.status import key_status
from bastion.config.model import Certificates
from bastion.errors import StateError
from bastion.state.ca_keys import AUTHORITY_NAMES, AuthorityName, CaKey
from bastion.state.store import State
from tests.state.samples import START, Clock, a_grant

ALICE = asyncssh.generate_private_key("ssh-ed25519")
DAY = 86400


def blob(key: CaKey) -> bytes:
    return asyncssh.import_public_key(key.public).public_data


def signers(pairs: list[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]]) -> list[bytes]:
    return [certificate.signing_key.public_data for _, certificate in pairs]  # type: ignore[attr-defined]


class Rotating:
    """Rotates as a command does, and reloads as the server does."""

    def __init__(self, authorities: Authorities, state: State, keys: Path, clock: Clock) -> None:
        self.authorities, self.state, self.keys, self.clock = authorities, state, keys, clock

    async def __call__(self, authority: AuthorityName, **overlap: float) -> Rotation:
        length = timedelta(**overlap) if overlap else None
        done = await rotate(authority, self.keys, self.state, self.clock, by="root", overlap=length)
        await self.authorities.reload()
        return done

    def has_private(self, key: CaKey) -> bool:
        return private_path(self.keys, key).exists()

    async def status(self, key: CaKey) -> str:
        (found,) = [row for row in await self.state.ca_keys.list() if row.id == key.id]
        return found.status


@pytest.fixture
def rotating(authorities: Authorities, state: State, keys: Path, clock: Clock) -> Rotating:
    return Rotating(authorities, state, keys, clock)


async def test_a_user_key_is_trusted_until_its_last_certificate_expires_and_then_retires_by_itself(
    rotating: Rotating, authorities: Authorities, clock: Clock
) -> None:
    await authorities.issue(ALICE, a_grant(lifetime=timedelta(hours=2)))
    await authorities.issue(ALICE, a_grant(lifetime=timedelta(hours=8)))
    done = await rotating("user")
    assert done.old.trusted_until == START + 8 * 3600
    assert not rotating.has_private(done.old)

    _, grant = await authorities.issue(ALICE, a_grant())
    assert grant.ca_key_id == done.new.id
    clock.advance(hours=8, seconds=-1)
    assert authorities.trusts_user_ca(blob(done.old))
    clock.advance(seconds=1)
    assert not authorities.trusts_user_ca(blob(done.old)), "without anybody having reloaded"
    assert authorities.trusts_user_ca(blob(done.new))
    await authorities.reload()
    assert await rotating.status(done.old) == "retired"


async def test_a_user_key_that_signed_nothing_retires_at_once(
    rotating: Rotating, authorities: Authorities
) -> None:
    done = await rotating("user")
    assert not authorities.trusts_user_ca(blob(done.old))
    assert await rotating.status(done.old) == "retired"


async def test_rotating_twice_leaves_the_certificates_of_all_three_keys_good(
    rotating: Rotating, authorities: Authorities
) -> None:
    await authorities.issue(ALICE, a_grant())
    first = await rotating("user")
    await authorities.issue(ALICE, a_grant())
    second = await rotating("user")
    assert all(authorities.trusts_user_ca(blob(key)) for key in (first.old, second.old, second.new))


@pytest.mark.parametrize("authority", ["user", "target", "host", "tls"])
async def test_no_overlap_ends_the_trust_at_once(
    rotating: Rotating, authorities: Authorities, authority: AuthorityName
) -> None:
    """What to do about a stolen key."""
    await authorities.issue(ALICE, a_grant())
    done = await rotating(authority, hours=0)
    assert done.old.trusted_until == START
    assert await rotating.status(done.old) == "retired"
    assert not rotating.has_private(done.old)
    assert not authorities.trusts_user_ca(blob(done.old))
    assert signers(await authorities.onward("root", "x")) == [
        blob(key) for key in await rotating.state.ca_keys.list("target") if key.status == "active"
    ]
    assert signers(authorities.host_identity()) == [
        blob(key) for key in await rotating.state.ca_keys.list("host") if key.status == "active"
    ]


async def test_onward_sessions_carry_a_certificate_under_the_new_target_key_and_then_the_old_one(
    rotating: Rotating, authorities: Authorities, clock: Clock
) -> None:
    clock.advance(seconds=1)
    done = await rotating("target", days=7)
    assert rotating.has_private(done.old)
    pairs = await authorities.onward("deploy", "x")
    assert signers(pairs) == [blob(done.new), blob(done.old)]
    assert len({key.public_data for key, _ in pairs}) == 1
    offered = [pair for pair in load_keypairs(pairs) if pair.has_cert]
    assert [pair.public_data for pair in offered] == [certificate.public_data for _, certificate in pairs]

    clock.advance(days=7)
    assert signers(await authorities.onward("deploy", "x")) == [blob(done.new)], "before anybody reloads"
    await authorities.reload()
    assert signers(await authorities.onward("deploy", "x")) == [blob(done.new)]
    assert not rotating.has_private(done.old)


async def test_a_target_key_overlaps_for_thirty_days_unless_somebody_says_otherwise(
    rotating: Rotating,
) -> None:
    assert (await rotating("target")).old.trusted_until == START + 30 * DAY


async def test_an_old_target_key_that_was_deleted_by_hand_is_done_without(
    rotating: Rotating, state: State, keys: Path, clock: Clock
) -> None:
    done = await rotating("target")
    private_path(keys, done.old).unlink()
    authorities = await Authorities.open(keys, state, Certificates(), "localhost", clock)
    assert signers(await authorities.onward("deploy", "x")) == [blob(done.new)]


async def test_the_host_certificate_under_the_old_key_is_shown_until_shortly_before_it_expires(
    rotating: Rotating, authorities: Authorities, clock: Clock
) -> None:
    before = authorities.host_identity()
    clock.advance(days=10)
    done = await rotating("host")
    change = START + 30 * DAY - 3600
    assert done.old.trusted_until == change
    assert authorities.host_identity() == before
    assert authorities.due_at == change
    assert not rotating.has_private(done.old)

    clock.seconds = change - 1
    await authorities.reload()
    assert authorities.host_identity() == before
    clock.seconds = authorities.due_at
    await authorities.reload()
    assert signers(authorities.host_identity()) == [blob(done.new)]
    assert await rotating.status(done.old) == "retired"


async def test_certificate_for_a_target_goes_over_to_the_new_key_when_that_of_the_bastion_does(
    rotating: Rotating, authorities: Authorities, state: State, keys: Path, clock: Clock
) -> None:
    before = await authorities.host_identity_for("web-1")
    clock.advance(days=10)
    done = await rotating("host")
    again = await Authorities.open(keys, state, Certificates(), "localhost", clock)  # a restart
    for one in (authorities, again):
        assert await one.host_identity_for("web-1") == before
    assert signers(await again.host_identity_for("web-2")) == [blob(done.new)]
    assert done.old.trusted_until is not None
    clock.seconds = done.old.trusted_until
    await authorities.reload()
    assert signers(await authorities.host_identity_for("web-1")) == [blob(done.new)]


async def test_lines_to_install_are_those_of_every_trusted_key(rotating: Rotating) -> None:
    done = await rotating("host")
    assert install_lines([done.new, done.old], "bastion.example", 2222) == [
        f"@cert-authority [bastion.example]:2222,*.bastion.example {key.public} bastion-host-ca-{key.id}"
        for key in (done.new, done.old)
    ]
    assert install_lines([done.new], "bastion.example", 22)[0].startswith(
        "@cert-authority bastion.example,*.bastion.example ssh-"
    )
    assert install_lines([done.new], "bastion.example", 22, ["web-1", "db-1"])[0].startswith(
        "@cert-authority bastion.example,*.bastion.example,web-1,db-1 ssh-"
    )


async def test_the_status_tells_how_many_certificates_are_alive_under_each_key(
    rotating: Rotating, authorities: Authorities, keys: Path, state: State, clock: Clock
) -> None:
    await authorities.issue(ALICE, a_grant())
    await rotating("user")
    await rotating("host")
    found = [
        (row.key.authority, row.key.status, row.certificates, row.is_trusted)
        for row in await key_status(keys, state, clock())
    ]
    assert sorted(found, key=str) == [
        ("host", "active", 0, True),
        ("host", "trusted", 1, True),
        ("target", "active", None, True),
        ("tls", "active", None, True),
        ("user", "active", 0, True),
        ("user", "trusted", 1, True),
    ]


async def test_a_lost_key_is_mended_by_a_rotation(state: State, keys: Path, clock: Clock) -> None:
    for authority in AUTHORITY_NAMES:
        (key,) = await state.ca_keys.list(authority)
        private_path(keys, key).unlink()
        await rotate(authority, keys, state, clock, by="root")
    await Authorities.open(keys, state, Certificates(), "localhost", clock)


async def test_there_must_be_a_key_to_replace(tmp_path: Path, clock: Clock) -> None:
    async with await State.open(tmp_path / "empty" / "state.db", clock) as state:
        with pytest.raises(StateError, match="no host CA key to replace"):
            await rotate("host", tmp_path, state, clock, by="root")


async def test_a_rotation_that_the_state_refuses_leaves_no_key_file_behind(
    state: State, keys: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(keys.iterdir())

    async def refuse(new: CaKey, latest: float) -> CaKey:
        raise StateError("The disk is full.")

    monkeypatch.setattr(state.ca_keys, "succeed", refuse)
    with pytest.raises(StateError, match="disk is full"):
        await rotate("target", keys, state, clock, by="root")
    assert set(keys.iterdir()) == before


async def test_rotations_and_retirements_stand_in_the_audit_trail(rotating: Rotating, state: State) -> None:
    done = await rotating("user")
    events = await state.audit.list(event="ca")
    assert [(event.event, event.user) for event in events] == [("ca.rotated", "root"), ("ca.retired", None)]
    assert events[0].detail["old"] == done.old.id
