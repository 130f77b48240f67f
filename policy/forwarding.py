"""What a rule says about forwarding: which ends of connections it is for, as patterns of hosts, ports and sockets.

An end is matched as the client named it and never resolved: what a name leads to is the target's business. Only other
ways to write the same address are seen through (`127.1`, `::ffff:127.0.0.1`), so that a deny of a network holds.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

from policy.errors import PatternError
from policy.patterns import matches

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")
_HOST_PATTERN = re.compile(r"[A-Za-z0-9._:*?-]+")
_NUMBERS = re.compile(r"(?:0[xX][0-9a-fA-F]+|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]+|[0-9]+)){0,3}")
_LONGEST_PATH = 1024
_EVERY_ADDRESS = ("", "*", "0.0.0.0", "::")  # noqa: S104 - asked for on a target, and nothing binds to it here
ANYWHERE = "*"
"""Listening on every address of a target, however it was asked for."""


@dataclass(frozen=True, slots=True)
class End:
    """Where a connection goes to, or where one is listened for: a host and a port, or the path of a socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def problem(self) -> str:
        """Why there can be nothing of that name; empty if there can."""
        if self.path:
            is_path = (
                self.path.startswith("/") and self.path.isprintable() and len(self.path) <= _LONGEST_PATH
            )
            return "" if is_path else "name a socket by its whole path"
        if not 0 <= self.port <= 65535 or not (self.host == ANYWHERE or _HOST.fullmatch(self.host)):
            return "that is no host and port"
        return ""


def listening_end(host: str, port: int) -> End:
    """Where `ssh -R host:port:…` asks to listen; all names of every address are one."""
    return End(host=ANYWHERE if host in _EVERY_ADDRESS else host, port=port)


def check_pattern(pattern: str) -> str:
    """Return *pattern*, or raise PatternError if it can fit nothing."""
    _parsed(pattern)
    return pattern


EndPattern = Annotated[str, AfterValidator(check_pattern)]


def fits(patterns: Sequence[str], end: End) -> bool:
    """Whether one of *patterns* fits *end*."""
    return any(_fits(_parsed(pattern), end) for pattern in patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parsed:
    path: str = ""
    host: str = ""
    network: Network | None = None
    first: int = 0
    last: int = 65535


@lru_cache(maxsize=4096)
def _parsed(pattern: str) -> _Parsed:
    if pattern.startswith("/"):
        return _Parsed(path=pattern)
    host, colon, ports = pattern.rpartition(":")
    if not colon or not host:
        raise PatternError(
            f'{pattern!r} has no port: write "host:80", "host:8000-8099", "host:*" or "/a/socket"'
        )
    first, last = _ports(ports)
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare is host and ":" in host:
        raise PatternError(f'{pattern!r} has an IPv6 address: write it in brackets, as in "[fd00::1]:80"')
    if "/" in bare:
        try:
            return _Parsed(network=ipaddress.ip_network(bare), first=first, last=last)
        except ValueError as error:
            raise PatternError(f"{bare!r} is no network: {error}") from None
    if (address := address_of(bare)) is not None:
        return _Parsed(network=ipaddress.ip_network(address), first=first, last=last)
    if not _HOST_PATTERN.fullmatch(bare):
        raise PatternError(f"no host has a name like {bare!r}")
    return _Parsed(host=bare.lower(), first=first, last=last)


def _ports(text: str) -> tuple[int, int]:
    if text == "*":
        return 0, 65535
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", text)
    if found is None or not 0 <= int(found[1]) <= int(found[2] or found[1]) <= 65535:
        raise PatternError(f"{text!r} is no port: write a number, a range such as 8000-8099, or *")
    return int(found[1]), int(found[2] or found[1])


def _fits(pattern: _Parsed, end: End) -> bool:
    if end.path or pattern.path:
        # With ".." it may lead anywhere: as it stands no pattern below the root can speak of it.
        path = end.path if ".." in end.path.split("/") else posixpath.normpath(end.path)
        is_plain = ".." not in end.path.split("/") or pattern.path == "/*"
        return bool(end.path and pattern.path) and is_plain and matches(pattern.path, path)
    if not pattern.first <= end.port <= pattern.last:
        return False
    address = address_of(end.host)
    if pattern.network is not None:
        return (
            address is not None and address.version == pattern.network.version and address in pattern.network
        )
    return matches(pattern.host, end.host.lower().removesuffix("."))


def address_of(host: str) -> Address | None:
    """The address that *host* is a spelling of, as those who connect to it would read it; None for a name."""
    try:
        address: Address = ipaddress.ip_address(host)
    except ValueError:
        if not _NUMBERS.fullmatch(host):
            return None
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified:  # connecting to it reaches the machine itself
        return ipaddress.IPv4Address("127.0.0.1") if address.version == 4 else ipaddress.IPv6Address("::1")
    return address
