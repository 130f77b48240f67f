"""What sources of failed sign-ins owe, and for how long."""

from __future__ import annotations

import pytest

from bastion.ssh.arrivals import SILENT, TOLD_EVERY, Arrival, Arrivals, Refusals
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


class Crowd:
    """Connections that come and do not sign in."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self.cut_off: list[str] = []

    def come(self, address: str) -> Arrival | str:
        return self._arrivals.admit(address, lambda: self.cut_off.append(address))


def test_arrivals_turn_away_who_owes_and_count_who_leaves(penalties: Penalties) -> None:
    arrivals = Arrivals(penalties, per_source=2)
    crowd, address = Crowd(arrivals), "192.0.2.1"
    one, two = crowd.come(address), crowd.come(address)
    assert isinstance(one, Arrival)
    assert isinstance(two, Arrival)
    assert crowd.come(address) == "too many have not signed in yet"
    one.signed_in()
    two.left(failures=0)
    assert penalties.left(address) == 0
    for _ in range(int(LEAST / LEFT)):
        again = crowd.come(address)
        assert isinstance(again, Arrival)
        again.left(failures=0)
    refused = crowd.come(address)
    assert isinstance(refused, str)
    assert "failed to sign in too often" in refused
    assert len(arrivals) == 0


def test_who_says_nothing_owes_more_than_who_leaves(penalties: Penalties) -> None:
    crowd = Crowd(Arrivals(penalties))
    for _ in range(2):
        arrival = crowd.come("192.0.2.1")
        assert isinstance(arrival, Arrival)
        arrival.left(failures=0, silent=True)
    assert penalties.left("192.0.2.1") == 2 * SILENT - LEAST


def test_addresses_of_one_ipv6_network_are_one_source(penalties: Penalties) -> None:
    crowd = Crowd(Arrivals(penalties, per_source=2))
    assert isinstance(crowd.come("2001:db8::1"), Arrival)
    assert isinstance(crowd.come("2001:db8::2"), Arrival)
    assert isinstance(crowd.come("2001:db8::3"), str)
    assert isinstance(crowd.come("2001:db8:0:1::1"), Arrival)


def test_the_source_with_most_places_makes_room_for_others(penalties: Penalties) -> None:
    arrivals = Arrivals(penalties, total=4, per_source=3)
    crowd = Crowd(arrivals)
    first = crowd.come("192.0.2.1")
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        assert isinstance(crowd.come(address), Arrival)
    assert isinstance(crowd.come("192.0.2.3"), Arrival)
    assert (crowd.cut_off, len(arrivals)) == (["192.0.2.1"], 4)
    assert isinstance(first, Arrival)
    first.left(failures=0)  # the oldest it was, and has no place to give back any more
    assert len(arrivals) == 4
    assert isinstance(crowd.come("192.0.2.4"), Arrival)
    assert isinstance(crowd.come("192.0.2.5"), str)  # each has one place by now: no source gives way


def test_a_source_that_is_refused_all_the_time_fills_no_log(clock: Clock) -> None:
    refusals = Refusals(clock)
    assert [refusals.is_news("192.0.2.1") for _ in range(100)] == [0, *[None] * 99]
    assert refusals.is_news("192.0.2.2") == 0
    clock.now += TOLD_EVERY
    assert [refusals.is_news("192.0.2.1") for _ in range(2)] == [99, None]
