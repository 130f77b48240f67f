"""Sign-in by a code shown in the terminal: the device grant (RFC 8628), and the words that go with it.

A code cannot be bound to the terminal that shows it, so codes live short, and the text says who asked for it. Where
the text is printed, and how many may wait at a time (`pending`), is for the SSH front to see to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping

from bastion.config.model import Issuer
from bastion.errors import SignInError
from bastion.identity.fetch import ProviderError, is_fit_url
from bastion.identity.oauth import Refusal, Tokens, ask_for_device_code, redeem_device_code
from bastion.identity.oidc import Provider
from bastion.identity.people import Identity, identity_from_token
from bastion.identity.verifier import verify_id_token
from bastion.runtime.secrets import Secret

LONGEST_WAIT = 170.0
"""No code lives longer, in seconds: what an attacker can send around should be stale when it is read."""

_DEFAULT_INTERVAL = 5.0  # RFC 8628 3.2
_LONGEST_INTERVAL = 30.0

Sleep = Callable[[float], Awaitable[None]]


class DeviceLogin:
    """A code that waits for its person. `start` gets one, `wait` returns once they have signed in."""

    def __init__(
        self,
        provider: Provider,
        *,
        device_code: Secret,
        user_code: str,
        verification_uri: str,
        expires_in: float,
        interval: float,
    ) -> None:
        self.user_code = user_code
        self.verification_uri = verification_uri
        self.expires_in = expires_in
        self.interval = interval
        self._provider = provider
        self._device_code = device_code

    @classmethod
    async def start(cls, provider: Provider) -> DeviceLogin:
        """Get a code from the provider; raises SignInError when there is none to be had."""
        if not provider.settings.device_flow:
            raise SignInError(
                "sign-in by code is turned off here", hint="Sign in with a browser: bastion login"
            )
        answer = await ask_for_device_code(provider)
        if isinstance(answer, Refusal):
            raise _refused(answer)
        issuer = provider.settings.issuer
        return cls(
            provider,
            device_code=Secret(_text(answer, "device_code", 4096)),
            user_code=_text(answer, "user_code", 64),
            verification_uri=_verification_uri(answer, issuer),
            expires_in=min(_seconds(answer, "expires_in", LONGEST_WAIT), LONGEST_WAIT),
            interval=min(_seconds(answer, "interval", _DEFAULT_INTERVAL), _LONGEST_INTERVAL),
        )

    async def wait(
        self,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> Identity:
        """Poll until the person has signed in; raises SignInError when they refuse or the code expires.

        It holds nothing between two polls, so it may be cancelled at any time.
        """
        deadline = monotonic() + self.expires_in
        interval = self.interval
        while (left := deadline - monotonic()) > 0:
            await sleep(min(interval, left))
            match await self._ask():
                case Tokens() as tokens:
                    return await self._accept(tokens, now())
                case Refusal(error="authorization_pending"):
                    pass
                case Refusal(error="slow_down"):
                    interval += 5  # RFC 8628 3.5
                case Refusal() as refusal:
                    raise _refused(refusal)
                case None:
                    interval = min(interval * 2, _LONGEST_INTERVAL)
        raise _refused(Refusal(error="expired_token"))

    async def _ask(self) -> Tokens | Refusal | None:
        """One poll; None when the provider could not be asked, which RFC 8628 3.5 tells to back off from."""
        try:
            return await redeem_device_code(self._provider, self._device_code)
        except ProviderError:
            return None

    async def _accept(self, tokens: Tokens, now: float) -> Identity:
        access_token = tokens.access_token.reveal() if tokens.access_token else None
        # No nonce: the device grant has no place for one. The token came from the token endpoint straight to us.
        token = await verify_id_token(
            self._provider, tokens.id_token.reveal(), now=now, access_token=access_token
        )
        return identity_from_token(token, self._provider.settings)


def why_no_code(settings: Issuer, client_address: str) -> str | None:
    """Why a client at that address may not sign in by a code; None when it may."""
    if not settings.device_flow:
        return "sign-in by code is turned off here"
    if not settings.device_flow_from:
        return None
    try:
        address = ipaddress.ip_address(client_address.partition("%")[0])
    except ValueError:
        return "sign-in by code is not open to your address"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in ipaddress.ip_network(network) for network in settings.device_flow_from):
        return None
    return "sign-in by code is not open to your network"


def sign_in_text(login: DeviceLogin, *, client_address: str, key_fingerprint: str | None = None) -> str:
    """What the person at the terminal reads, in lines that end with a newline."""
    key = f"\nwith the key {key_fingerprint}" if key_fingerprint else ""
    return (
        "To sign in, open this address in a browser and enter the code:\n"
        "\n"
        f"    {login.verification_uri}\n"
        f"    {login.user_code}\n"
        "\n"
        f"It is valid for {login.expires_in:.0f} seconds and was asked for from {client_address}{key}.\n"
        "Go on only if YOU started this. If another person sent you the code, do not enter\n"
        "it: it would let THEM in as you.\n"
    )


def _text(answer: Mapping[str, object], name: str, longest: int) -> str:
    value = answer.get(name)
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= longest
        or not value.isascii()
        or not value.isprintable()
    ):
        raise ProviderError(f"the provider sent no usable {name}")
    return value


def _verification_uri(answer: Mapping[str, object], issuer: str) -> str:
    # Google still calls it verification_url.
    name = "verification_uri" if "verification_uri" in answer else "verification_url"
    uri = _text(answer, name, 512)
    if not is_fit_url(uri, issuer=issuer):
        raise ProviderError(f"the provider sent no usable {name}")
    return uri


def _seconds(answer: Mapping[str, object], name: str, default: float) -> float:
    value = answer.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return default
    return float(value)


def _refused(refusal: Refusal) -> SignInError:
    match refusal.error:
        case "access_denied":
            return SignInError("sign-in was denied in the browser", hint="Connect again for a new code.")
        case "expired_token":
            return SignInError(
                "the code has expired before anybody signed in", hint="Connect again for a new code."
            )
        case "invalid_client" | "unauthorized_client":
            return SignInError(
                f"the provider does not let this bastion sign people in by code ({refusal.error})",
                hint="Register its client at the provider as a public one with the device grant.",
            )
        case other:
            return SignInError(f"the provider refused the sign-in ({other[:80]!a})", hint="Connect again.")
