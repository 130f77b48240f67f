"""What the development issuer remembers between two requests: authorization codes and device codes.

Pure state with a clock that is given; HTTP is in `development`, the pages are in `development_pages`.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass

_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 6.1: easy to type, spells nothing
_CODE_LIFETIME = 60.0
_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeGrant:
    """An authorization code that waits to be redeemed."""

    user: str
    redirect_uri: str
    code_challenge: str
    nonce: str | None
    expires_at: float


@dataclass(slots=True, kw_only=True)
class DeviceGrant:
    """A device code: nobody has decided (*user* None, *denied* false), or somebody has."""

    device_code: str
    user_code: str
    expires_at: float
    user: str | None = None
    denied: bool = False
    polled_at: float | None = None

    @property
    def is_decided(self) -> bool:
        return self.denied or self.user is not None


class Grants:
    """Codes that are out. A device code lives *device_lifetime* and may be polled every *interval* seconds."""

    def __init__(self, *, now: Callable[[], float], device_lifetime: float, interval: float) -> None:
        self.device_lifetime = device_lifetime
        self.interval = interval
        self._now = now
        self._codes: dict[str, CodeGrant] = {}
        self._devices: dict[str, DeviceGrant] = {}

    def issue_code(self, *, user: str, redirect_uri: str, code_challenge: str, nonce: str | None) -> str:
        """A new authorization code."""
        self._forget_expired()
        code = secrets.token_urlsafe(32)
        self._codes[code] = CodeGrant(
            user=user,
            redirect_uri=redirect_uri,
            code_challenge=code_challenge,
            nonce=nonce,
            expires_at=self._now() + _CODE_LIFETIME,
        )
        return code

    def redeem_code(self, code: str, *, redirect_uri: str, code_verifier: str) -> CodeGrant | str:
        """The grant of *code*, once; or an OAuth error code."""
        grant = self._codes.pop(code, None)
        digest = hashlib.sha256(code_verifier.encode()).digest()
        challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
        if grant is None or grant.expires_at <= self._now():
            return "invalid_grant"
        if grant.redirect_uri != redirect_uri or not secrets.compare_digest(grant.code_challenge, challenge):
            return "invalid_grant"
        return grant

    def issue_device_code(self) -> DeviceGrant | str:
        """A new device code; or an OAuth error code when too many are out."""
        self._forget_expired()
        if len(self._devices) >= _MOST:
            return "temporarily_unavailable"
        letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
        grant = DeviceGrant(
            device_code=secrets.token_urlsafe(32),
            user_code=f"{letters[:4]}-{letters[4:]}",
            expires_at=self._now() + self.device_lifetime,
        )
        self._devices[grant.device_code] = grant
        return grant

    def find_device(self, user_code: str) -> DeviceGrant | None:
        """The grant that shows *user_code*, in whatever way it is typed, while nobody has decided."""
        now = self._now()
        typed = "".join(letter for letter in user_code.upper() if letter in _LETTERS)
        waiting = (
            grant for grant in self._devices.values() if not grant.is_decided and grant.expires_at > now
        )
        return next((grant for grant in waiting if grant.user_code.replace("-", "") == typed), None)

    def poll_device(self, device_code: str) -> DeviceGrant | str:
        """The grant once somebody has signed in, once; until then an OAuth error code (RFC 8628 3.5)."""
        grant = self._devices.get(device_code)
        if grant is None:
            return "invalid_grant"
        now = self._now()
        previous, grant.polled_at = grant.polled_at, now
        if grant.expires_at <= now:
            return "expired_token"
        if grant.denied:
            return "access_denied"
        if grant.user is not None:
            return self._devices.pop(device_code)
        # A little early is not too early: the client's clock ticks on its own.
        too_early = previous is not None and now - previous < self.interval * 0.8
        return "slow_down" if too_early else "authorization_pending"

    def seconds_left(self, grant: DeviceGrant) -> int:
        """How long *grant* can still be decided."""
        return max(0, int(grant.expires_at - self._now()))

    def _forget_expired(self) -> None:
        now = self._now()
        self._codes = {code: grant for code, grant in self._codes.items() if grant.expires_at > now}
        # Kept a while longer, so that a poll hears "expired" instead of "never heard of it".
        self._devices = {code: grant for code, grant in self._devices.items() if grant.expires_at > now - 600}
