"""Which headers pass through the bastion, and which make a request one that it refuses.

Who somebody is towards the cluster the bastion alone says. A client that says so too is refused and not corrected: it
wants something that it will not get, and its person should hear of that.
"""

from __future__ import annotations

from collections.abc import Iterable

from bastion.kubectl.http import Head, Headers
from bastion.kubectl.status import Refusal

_UPWARD = frozenset({
    "accept", "accept-encoding", "accept-language", "cache-control", "content-encoding", "content-language",
    "content-type", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since",
    "kubectl-command", "kubectl-session", "pragma", "range", "user-agent",
})  # fmt: skip
"""What of a client's headers the cluster sees."""

_CONNECTION = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
"""Headers of one connection and not of a message (RFC 9110 section 7.6.1)."""

_OURS_ALONE = frozenset({"www-authenticate", "set-cookie", "alt-svc"})
"""What a cluster says to the bastion, and not to a person."""

_IDENTITY = ("impersonate-", "x-remote-", "x-forwarded-", "forwarded")


def refused_header(head: Head) -> Refusal | None:
    """The refusal of a request that says who somebody is, or asks for what is not spoken here."""
    for name, _ in head.headers:
        if name.startswith(_IDENTITY):
            return Refusal(
                403,
                f"the header {name} is not for clients to send: the bastion tells the cluster who you are"
                " (kubectl sends it with --as)",
            )
        if "_" in name:  # some servers take it for a dash
            return Refusal(400, f"there is no header {name}")
    return None


def bearer_token(head: Head) -> str | None:
    """The token that a request shows, if it shows one."""
    scheme, _, token = head.get("authorization").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def passed_on(head: Head) -> Headers:
    """The client's headers as the cluster gets them."""
    return [(name, value) for name, value in head.headers if name in _UPWARD]


def passed_back(headers: Iterable[tuple[str, str]]) -> Headers:
    """The cluster's headers as the client gets them."""
    fields = list(headers)
    named = {
        word.strip().lower()
        for name, value in fields
        if name.lower() == "connection"
        for word in value.split(",")
    }
    dropped = _CONNECTION | _OURS_ALONE | named
    if any(
        name.lower() == "transfer-encoding" for name, _ in fields
    ):  # it outweighs a length, which may be a lie
        dropped |= {"content-length"}
    return [(name, value) for name, value in fields if name.lower() not in dropped]
