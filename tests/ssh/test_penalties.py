"""What sources of failed sign-ins owe, and for how long."""

from __future__ import annotations

import pytest

from bastion.ssh.arrivals import Arrivals
from bastion.ssh.penalties import FAILED, LEAST, LEFT, MAX_SOURCES, MOST, Penalties


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def penalties(clock: Clock) -> Penalties:
    return Penalties(exempt=lambda: ["10.0.0.0/8", "::1/128"], monotonic=clock)


def test_a_few_failures_cost_nothing_and_many_cost_a_while(penalties: Penalties, clock: Clock) -> None:
    for _ in range(3):
        penalties.add("192.0.2.1", FAILED)
    assert penalties.left("192.0.2.1") == 0
    penalties.add("192.0.2.1", FAILED)
    assert penalties.left("192.0.2.1") == 4 * FAILED - LEAST
    assert penalties.left("192.0.2.2") == 0
    clock.now += 4 * FAILED - LEAST
    assert penalties.left("192.0.2.1") == 0


def test_no_source_owes_more_than_the_most(penalties: Penalties) -> None:
    for _ in range(1000):
        penalties.add("192.0.2.1", FAILED)
    assert penalties.left("192.0.2.1") == MOST - LEAST


@pytest.mark.parametrize("address", ["10.1.2.3", "::1"])
def test_exempt_networks_owe_nothing(penalties: Penalties, address: str) -> None:
    penalties.add(address, MOST)
    assert penalties.left(address) == 0


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_what_belongs_to_one_source(penalties: Penalties, one: str, other: str, are_one: bool) -> None:
    penalties.add(one, MOST)
    assert bool(penalties.left(other)) is are_one


def test_memory_of_sources_is_bounded_and_forgets_the_oldest(penalties: Penalties) -> None:
    for number in range(MAX_SOURCES + 1):
        penalties.add(f"172.{16 + (number >> 16)}.{number >> 8 & 255}.{number & 255}", MOST)
    assert penalties.left("172.16.0.0") == 0
    assert penalties.left("172.16.0.1") > 0


def test_arrivals_turn_away_who_owes_and_count_who_leaves(penalties: Penalties) -> None:
    arrivals = Arrivals(penalties, per_address=2)
    address = "192.0.2.1"
    assert [arrivals.admit(address), arrivals.admit(address)] == [None, None]
    assert arrivals.admit(address) == "too many have not signed in yet"
    arrivals.leave(address)  # signed in
    arrivals.leave(address, failures=0)
    assert penalties.left(address) == 0
    for _ in range(int(LEAST / LEFT)):
        assert arrivals.admit(address) is None
        arrivals.leave(address, failures=0)
    assert "failed to sign in too often" in (arrivals.admit(address) or "")
    assert len(arrivals) == 0
