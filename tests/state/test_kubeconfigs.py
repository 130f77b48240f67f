"""Tokens of kubeconfigs: each for one sign-in and one target, for as long as it is valid."""

from __future__ import annotations

from bastion.state.store import State
from tests.state.samples import START, Clock, a_grant


async def test_a_token_is_for_one_sign_in_and_one_target_and_expires(state: State, clock: Clock) -> None:
    for serial in (7, 8):
        await state.grants.insert(a_grant(serial=serial))
    await state.kubeconfigs.add("digest", serial=7, target="prod-k8s", expires_at=START + 60)
    assert await state.kubeconfigs.is_for("digest", serial=7, target="prod-k8s")
    assert not await state.kubeconfigs.is_for("other", serial=7, target="prod-k8s")
    assert not await state.kubeconfigs.is_for("digest", serial=8, target="prod-k8s")
    assert not await state.kubeconfigs.is_for("digest", serial=7, target="test-k8s")
    clock.advance(seconds=60)
    assert not await state.kubeconfigs.is_for("digest", serial=7, target="prod-k8s")
