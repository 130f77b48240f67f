"""A clock that stands still until it is moved, and grants to put into a state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from bastion.state.grants import Grant, new_grant

START = 1_800_000_000.0


class Clock:
    """Gives Unix seconds; `advance` moves it."""

    def __init__(self, seconds: float = START) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds

    def advance(self, **duration: float) -> None:
        self.seconds += timedelta(**duration).total_seconds()


def a_grant(
    user: str = "alice",
    *,
    now: float = START,
    lifetime: timedelta = timedelta(hours=8),
    groups: Sequence[str] = ("sre",),
    serial: int | None = None,
) -> Grant:
    """A grant as a sign-in makes it; *serial* is random unless given."""
    random_bits: dict[str, Callable[[int], int]] = {} if serial is None else {"random_bits": lambda _: serial}
    return new_grant(
        user=user,
        issuer="https://idp.example",
        issuer_alias="corp",
        subject=f"sub-of-{user}",
        groups=groups,
        method="device",
        client_address="192.0.2.7",
        now=now,
        lifetime=lifetime,
        **random_bits,
    )
