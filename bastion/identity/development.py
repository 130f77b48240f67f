"""An OIDC provider for demos and tests: real protocol, no password. It listens on loopback only.

Discovery, JWKS with rotation, authorization code with PKCE, and the device grant. Never for real use: whoever reaches
the page can be anybody on it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from bastion.config import model
from bastion.errors import ConfigError
from bastion.identity import development_pages as pages
from bastion.identity.development_grants import CodeGrant, DeviceGrant, Grants
from bastion.identity.fetch import is_fit_url
from bastion.identity.web import LoopbackServer, Request, Response

CLIENT_ID = "bastion"

_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_TOKEN_LIFETIME = 300


class DevelopmentIssuer:
    """The issuer that *settings* describe; *now* is its clock, *interval* the pace at which devices may poll."""

    def __init__(
        self,
        settings: model.DevelopmentIssuer,
        *,
        now: Callable[[], float] = time.time,
        device_lifetime: float = 300,
        interval: float = 1,
    ) -> None:
        self._settings = settings
        self._people = {person.user: person for person in settings.people}
        self._now = now
        self._grants = Grants(now=now, device_lifetime=device_lifetime, interval=interval)
        self._keys = [_new_key()]
        self._server = LoopbackServer(self._answer)
        self._routes: Mapping[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/"): lambda _: pages.ask_for_code_page(),
            ("GET", "/.well-known/openid-configuration"): lambda _: _json(self._metadata()),
            ("GET", "/jwks"): lambda _: _json(dict(KeySet(list(self._keys)).as_dict(private=False))),
            ("GET", "/authorize"): self._show_sign_in,
            ("POST", "/authorize"): self._sign_in,
            ("GET", "/device"): self._show_device,
            ("POST", "/device"): self._decide_device,
            ("POST", "/device/code"): self._give_device_code,
            ("POST", "/token"): self._give_tokens,
        }

    @property
    def url(self) -> str:
        """The issuer URL, once started."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def client_settings(self) -> model.Issuer:
        """What a bastion is configured with to trust this issuer, once started."""
        return model.Issuer(alias="dev", issuer=self.url, client_id=CLIENT_ID)

    async def start(self) -> str:
        """Listen, and return the issuer URL; raises ConfigError when the port is taken."""
        try:
            await self._server.start(self._settings.port)
        except OSError as error:
            raise ConfigError(
                f"the development issuer cannot listen on port {self._settings.port} ({error.strerror})",
                hint="Choose another port under development_issuer, or 0 for any free one.",
            ) from error
        return self.url

    async def close(self) -> None:
        """Stop listening."""
        await self._server.close()

    def rotate(self, *, keep_old: bool = True) -> None:
        """Sign with a new key from now on; without *keep_old* the old ones vanish at once."""
        self._keys = [_new_key(), *(self._keys if keep_old else [])]

    async def _answer(self, request: Request) -> Response:
        route = self._routes.get((request.method, request.path))
        if route is None:
            return Response(status=404, body=b"there is nothing here\n")
        return route(request)

    def _metadata(self) -> dict[str, object]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "device_authorization_endpoint": f"{self.url}/device/code",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", _DEVICE_GRANT],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "scopes_supported": ["openid", "profile", "email", "groups"],
            "authorization_response_iss_parameter_supported": True,
        }

    # Authorization code with PKCE

    def _show_sign_in(self, request: Request) -> Response:
        if (problem := _unfit_request(request.query)) is not None:
            return pages.problem_page(problem)
        return pages.sign_in_page(f"/authorize?{urlencode(request.query)}", self._settings.people)

    def _sign_in(self, request: Request) -> Response:
        query = request.query
        if (problem := _unfit_request(query)) is not None:
            return pages.problem_page(problem)
        answer = {"iss": self.url, "state": query.get("state", "")}
        user = request.form.get("person", "")
        if request.form.get("decision") == "deny":
            answer["error"] = "access_denied"
        elif user not in self._people or request.form.get("decision") != "approve":
            return pages.problem_page("Choose who you are.")
        else:
            answer["code"] = self._grants.issue_code(
                user=user,
                redirect_uri=query["redirect_uri"],
                code_challenge=query["code_challenge"],
                nonce=query.get("nonce"),
            )
        return Response(status=303, headers={"Location": f"{query['redirect_uri']}?{urlencode(answer)}"})

    # Device grant

    def _give_device_code(self, request: Request) -> Response:
        if request.form.get("client_id") != CLIENT_ID:
            return _json({"error": "invalid_client"}, status=401)
        match self._grants.issue_device_code():
            case str(error):
                return _json({"error": error}, status=400)
            case DeviceGrant() as grant:
                return _json(
                    {
                        "device_code": grant.device_code,
                        "user_code": grant.user_code,
                        "verification_uri": f"{self.url}/device",
                        "verification_uri_complete": f"{self.url}/device?user_code={grant.user_code}",
                        "expires_in": self._grants.seconds_left(grant),
                        "interval": self._grants.interval,
                    }
                )

    def _show_device(self, request: Request) -> Response:
        typed = request.query.get("user_code", "")
        grant = self._grants.find_device(typed) if typed else None
        if grant is None:
            return pages.ask_for_code_page(
                "No terminal waits with that code. Has it expired?" if typed else ""
            )
        return pages.approve_device_page(
            grant.user_code, self._grants.seconds_left(grant), self._settings.people
        )

    def _decide_device(self, request: Request) -> Response:
        grant = self._grants.find_device(request.form.get("user_code", ""))
        if grant is None:
            return pages.ask_for_code_page("No terminal waits with that code. Has it expired?")
        if request.form.get("decision") == "deny":
            grant.denied = True
            return pages.denied_page()
        person = self._people.get(request.form.get("person", ""))
        if person is None or request.form.get("decision") != "approve":
            return pages.problem_page("Choose who you are.")
        grant.user = person.user
        return pages.done_page(person.name or person.user)

    # Tokens

    def _give_tokens(self, request: Request) -> Response:
        form = request.form
        if form.get("client_id") != CLIENT_ID:
            return _json({"error": "invalid_client"}, status=401)
        grant: CodeGrant | DeviceGrant | str
        match form.get("grant_type"):
            case "authorization_code":
                grant = self._grants.redeem_code(
                    form.get("code", ""),
                    redirect_uri=form.get("redirect_uri", ""),
                    code_verifier=form.get("code_verifier", ""),
                )
            case str(kind) if kind == _DEVICE_GRANT:
                grant = self._grants.poll_device(form.get("device_code", ""))
            case _:
                grant = "unsupported_grant_type"
        match grant:
            case CodeGrant(user=user, nonce=nonce):
                return _json(self._tokens(user, nonce))
            case DeviceGrant(user=str(user)):
                return _json(self._tokens(user, None))
            case error:
                return _json({"error": error}, status=400)

    def _tokens(self, user: str, nonce: str | None) -> dict[str, object]:
        person, now, access_token = self._people[user], int(self._now()), secrets.token_urlsafe(24)
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": f"dev-{person.user}",
            "iat": now,
            "exp": now + _TOKEN_LIFETIME,
            "at_hash": urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()[:16])
            .rstrip(b"=")
            .decode(),
            "preferred_username": person.user,
            "name": person.name or person.user,
            "email": f"{person.user}@example.test",
            "email_verified": True,
            "groups": list(person.groups),
            **({"nonce": nonce} if nonce is not None else {}),
        }
        return {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": _TOKEN_LIFETIME,
            "id_token": jwt.encode({"alg": "ES256", "kid": self._keys[0].kid}, claims, self._keys[0]),
        }


def _new_key() -> ECKey:
    return ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)


def _json(document: Mapping[str, object], *, status: int = 200) -> Response:
    return Response(status=status, content_type="application/json", body=json.dumps(document).encode())


def _unfit_request(query: Mapping[str, str]) -> str | None:
    """Why an authorization request is refused. It is never redirected then: its address may be anybody's."""
    if query.get("client_id") != CLIENT_ID:
        return f"The client is not {CLIENT_ID}."
    if not _is_loopback_page(query.get("redirect_uri", "")):
        return "The redirect address is not one of this machine."
    if query.get("response_type") != "code" or "openid" not in query.get("scope", "").split():
        return "The request is not for an OpenID Connect code."
    if query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
        return "The request has no PKCE challenge."
    return None


def _is_loopback_page(url: str) -> bool:
    """RFC 8252 7.3: a native client's page on this machine, on whatever port."""
    return (
        is_fit_url(url, issuer="http://127.0.0.1")
        and url.startswith("http:")
        and "?" not in url
        and "#" not in url
    )
