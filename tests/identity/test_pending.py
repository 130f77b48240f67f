"""How many sign-ins may wait at a time."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from bastion.errors import SignInError
from bastion.identity.pending import PendingLogins


def test_one_key_may_wait_once_and_again_when_it_is_done() -> None:
    pending = PendingLogins()
    with pending.waiting(address="192.0.2.1", key="SHA256:a"):
        with (
            pytest.raises(SignInError, match="with this key"),
            pending.waiting(address="192.0.2.2", key="SHA256:a"),
        ):
            pytest.fail("it was let in")
        with pending.waiting(address="192.0.2.1", key="SHA256:b"):
            assert len(pending) == 2
    with pending.waiting(address="192.0.2.1", key="SHA256:a"):
        assert len(pending) == 1


def test_one_address_may_wait_three_times() -> None:
    pending = PendingLogins()
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(pending.waiting(address="192.0.2.1"))
        with pytest.raises(SignInError, match="from your address"):
            stack.enter_context(pending.waiting(address="192.0.2.1"))
        stack.enter_context(pending.waiting(address="192.0.2.2"))


def test_all_together_may_wait_so_often() -> None:
    pending = PendingLogins(total=2)
    with ExitStack() as stack:
        for number in range(2):
            stack.enter_context(pending.waiting(address=f"192.0.2.{number}"))
        with pytest.raises(SignInError, match="too many people"):
            stack.enter_context(pending.waiting(address="192.0.2.9"))


def test_a_sign_in_that_fails_is_counted_no_longer() -> None:
    pending = PendingLogins()
    with pytest.raises(SignInError, match="denied"), pending.waiting(address="192.0.2.1", key="SHA256:a"):
        raise SignInError("denied")
    assert len(pending) == 0
    with pending.waiting(address="192.0.2.1", key="SHA256:a"):
        assert len(pending) == 1
