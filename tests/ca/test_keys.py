"""Key files: made once, private, kept, missed, taken over."""

from __future__ import annotations

import stat
from pathlib import Path

import asyncssh
import pytest

from bastion.ca.authorities import Authorities
from bastion.ca.keys import create_missing_keys, is_private, private_path
from bastion.config.model import Certificates
from bastion.errors import KeyFileError
from bastion.state.store import State
from tests.state.samples import Clock


async def open_authorities(keys: Path, state: State, clock: Clock) -> Authorities:
    return await Authorities.open(keys, state, Certificates(), "localhost", clock)


def private_files(keys: Path) -> list[Path]:
    return [path for path in keys.iterdir() if is_private(path)]


async def test_private_keys_are_readable_for_their_owner_alone_and_public_ones_for_everybody(
    authorities: Authorities, keys: Path
) -> None:
    modes = {path.name.partition("-ca")[0]: stat.S_IMODE(path.stat().st_mode) for path in private_files(keys)}
    assert modes == dict.fromkeys(("user", "target", "host", "tls", "host-key"), 0o600)
    public = [path for path in keys.iterdir() if not is_private(path)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in public} == {0o644}
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700


async def test_keys_that_are_there_are_kept(state: State, keys: Path, clock: Clock) -> None:
    before = {path: path.read_bytes() for path in keys.iterdir()}
    assert await create_missing_keys(keys, state, clock) == []
    assert {path: path.read_bytes() for path in keys.iterdir()} == before


async def test_when_the_state_was_lost_the_key_that_targets_trust_goes_on(
    state: State, keys: Path, clock: Clock, tmp_path: Path
) -> None:
    old = await state.ca_keys.list()
    async with await State.open(tmp_path / "data" / "new.db", clock) as new:
        assert await create_missing_keys(keys, new, clock) == []
        assert {key.public for key in await new.ca_keys.list()} == {key.public for key in old}


async def test_of_two_keys_that_the_state_does_not_know_none_is_chosen(
    state: State, keys: Path, clock: Clock, tmp_path: Path
) -> None:
    second = asyncssh.generate_private_key("ssh-ed25519").export_private_key()
    (keys / "target-ca-second").write_bytes(second)
    (keys / "target-ca-second").chmod(0o600)
    async with await State.open(tmp_path / "data" / "new.db", clock) as new:
        with pytest.raises(KeyFileError, match="2 target CA keys that the state does not know"):
            await create_missing_keys(keys, new, clock)


async def test_without_keys_nothing_opens(tmp_path: Path, clock: Clock) -> None:
    async with await State.open(tmp_path / "state" / "state.db", clock) as state:
        with pytest.raises(KeyFileError) as refused:
            await open_authorities(tmp_path / "keys", state, clock)
    assert refused.value.hint == "Run `bastion init` first."


@pytest.mark.parametrize("authority", ["user", "target", "host", "tls"])
async def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(
    state: State, keys: Path, clock: Clock, authority: str
) -> None:
    (path,) = [path for path in private_files(keys) if path.name.startswith(f"{authority}-ca-")]
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="its mode is 0644, it must be 0600") as refused:
        await open_authorities(keys, state, clock)
    assert refused.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    await open_authorities(keys, state, clock)


async def test_a_missing_a_broken_and_a_swapped_key_are_each_named(
    state: State, keys: Path, clock: Clock
) -> None:
    (key,) = await state.ca_keys.list("target")
    path = private_path(keys, key)
    original = path.read_bytes()
    path.write_bytes(b"nothing")
    with pytest.raises(KeyFileError, match="holds no private key that can be used"):
        await open_authorities(keys, state, clock)
    path.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    with pytest.raises(KeyFileError, match="does not hold the target CA key"):
        await open_authorities(keys, state, clock)
    path.unlink()
    with pytest.raises(KeyFileError, match="is missing") as refused:
        await open_authorities(keys, state, clock)
    assert "bastion ca rotate target" in refused.value.hint
    path.write_bytes(original)
    path.chmod(0o600)
    await open_authorities(keys, state, clock)
