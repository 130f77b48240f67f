"""An ID token for a certificate: the conversation on `ssh login@bastion exchange`, for both of its sides.

    server   {"hello": {"issuer": …, "client_id": …, "scopes": […], "challenge": …, "browser": true}}
    client   {"id_token": …}
    server   {"certificate": "ssh-ed25519-cert-v01@openssh.com …", "expires_at": …, "user": …}
         or  {"error": …, "hint": …}

One JSON object a line. The client signs in with a nonce made from the server's challenge and its own public key, whose
private half the SSH connection has proved. So a token is good for this key on this connection only: one that was
stolen, replayed, or made for another server's challenge has another nonce.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from bastion.errors import SignInError, TokenRejected
from bastion.identity.oidc import Provider
from bastion.identity.people import Identity, identity_from_token
from bastion.identity.verifier import LARGEST_TOKEN, verify_id_token

LARGEST_MESSAGE = LARGEST_TOKEN + 1024
"""Bytes of the longest line that either side sends; read no more than that."""

_TAG = b"bastion-login-v1\0"

UseToken = Callable[[str, float], Awaitable[bool]]
"""Remembers a token's digest until a time in Unix seconds; false when it was there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a client needs to know to sign in. Without *browser* the code flow is not open to it."""

    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    challenge: str
    browser: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The certificate, as one line of OpenSSH's form. *expires_at* is in Unix seconds."""

    certificate: str
    expires_at: float
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why there is no certificate."""

    error: str
    hint: str


class Exchange:
    """The server's half of one conversation. It is good for one token, whether that passes or not."""

    def __init__(
        self,
        provider: Provider,
        *,
        use_token: UseToken,
        now: Callable[[], float],
        challenge: str | None = None,
    ) -> None:
        self._provider = provider
        self._use_token = use_token
        self._now = now
        self._challenge = challenge or secrets.token_urlsafe(32)
        self._spent = False

    def hello(self) -> bytes:
        """The first line."""
        settings = self._provider.settings
        hello = Hello(
            issuer=settings.issuer,
            client_id=settings.client_id,
            scopes=settings.scopes,
            challenge=self._challenge,
            # A secret that every client is told is none. Where the provider insists on one, only we can redeem.
            browser=self._provider.client_secret is None,
        )
        return _line({"hello": asdict(hello)})

    async def accept(self, token: str, public_key_blob: bytes) -> Identity:
        """Verify the client's *token* for its key (RFC 4253 6.6 blob); raises SignInError and TokenRejected."""
        if self._spent:
            raise TokenRejected("a second token on one challenge", "the challenge has been used")
        self._spent = True
        now = self._now()
        nonce = key_bound_nonce(self._challenge, public_key_blob)
        verified = await verify_id_token(self._provider, token, now=now, nonce=nonce)
        identity = identity_from_token(verified, self._provider.settings)
        if not await self._use_token(verified.digest, verified.expires_at):
            raise TokenRejected("the token has been used before", "it has been used before")
        return identity


def key_bound_nonce(challenge: str, public_key_blob: bytes) -> str:
    """The nonce that ties a sign-in to a server's *challenge* and a client's public key."""
    digest = hashlib.sha256(_TAG + challenge.encode() + b"\0" + public_key_blob).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def write_token(token: str) -> bytes:
    """The client's line."""
    return _line({"id_token": token})


def write_answer(answer: Granted | Refused) -> bytes:
    """The server's last line."""
    return _line(asdict(answer))


def read_hello(line: bytes) -> Hello:
    """Read the server's first line; raise SignInError when it is something else."""
    message = _read(line, "the bastion")
    hello = message.get("hello")
    match hello:
        case {
            "issuer": str(issuer),
            "client_id": str(client_id),
            "scopes": [*scopes],
            "challenge": str(challenge),
            "browser": bool(browser),
        } if all(isinstance(scope, str) for scope in scopes):
            return Hello(
                issuer=issuer,
                client_id=client_id,
                scopes=tuple(scopes),
                challenge=challenge,
                browser=browser,
            )
    match message:
        case {"error": str(error), "hint": str(hint)}:
            raise SignInError(error, hint=hint)
    raise _unreadable("the bastion")


def read_token(line: bytes) -> str:
    """Read the client's line; raise SignInError when it is something else, or nothing: the client has gone."""
    if not line:
        raise SignInError("the client ended the sign-in", hint="Sign in again.")
    match _read(line, "the client"):
        case {"id_token": str(token)}:
            return token
    raise _unreadable("the client")


def read_answer(line: bytes) -> Granted | Refused:
    """Read the server's last line; raise SignInError when it is something else."""
    match _read(line, "the bastion"):
        case {
            "certificate": str(certificate),
            "expires_at": int() | float() as expires_at,
            "user": str(user),
        }:
            return Granted(certificate=certificate, expires_at=expires_at, user=user)
        case {"error": str(error), "hint": str(hint)}:
            return Refused(error=error, hint=hint)
    raise _unreadable("the bastion")


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"  # ASCII only, so no line break but the last


def _read(line: bytes, sender: str) -> dict[str, Any]:
    if len(line) > LARGEST_MESSAGE:
        raise _unreadable(sender)
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _unreadable(sender) from error
    if not isinstance(message, dict):
        raise _unreadable(sender)
    return message


def _unreadable(sender: str) -> SignInError:
    return SignInError(
        f"{sender} sent something that is no part of a sign-in",
        hint="Both sides must be of the same version of bastion; is it a bastion at all?",
    )
