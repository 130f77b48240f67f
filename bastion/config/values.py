"""Single values of the configuration: addresses, issuer URLs, paths, and what is wrong with a bad one.

Each type is read from what TOML can hold, and says in one sentence how to write it right. Which setting has which
type stands in `model.py`.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from policy.durations import Duration, format_duration
from policy.patterns import is_login
from recorder.recipients import name_of

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine by its name or address; a name that only resolves to it is not."""
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _login(value: str) -> str:
    if not is_login(value):
        raise ValueError(
            "use letters, digits, '.', '_' and '-', at most 64 of them, not beginning with '.' or '-'"
        )
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"write a network such as 10.0.0.0/8 ({error})") from error


def _path(value: Path) -> Path:
    if value.parts and value.parts[0].startswith("~"):
        raise ValueError("'~' is not expanded here; write the whole path")
    if "\0" in str(value):
        raise ValueError("a path cannot hold a NUL")
    return value


def _address(value: str) -> str:
    if _is_ip(value) or _HOST_NAME.fullmatch(value):
        return value
    if "@" in value:
        raise ValueError("leave the login out; the address is a host name or an IP address alone")
    if value.startswith("["):
        raise ValueError("write an IPv6 address without brackets, and the port in 'port'")
    if value.count(":") == 1:
        raise ValueError("write the port in 'port', not in the address")
    raise ValueError("write a host name or an IP address")


def _listen_address(value: str) -> str:
    return _address(value) if value else value


def _issuer_url(value: str) -> str:
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise ValueError(f"this is not a URL ({error})") from error
    if url.scheme not in ("https", "http") or not host:
        raise ValueError("write the whole URL, such as https://login.example.com")
    if url.query or url.fragment or url.username is not None:
        raise ValueError(
            "an issuer URL has no query, fragment or user name"
        )  # OpenID Connect Discovery 1.0, 3
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError("use https; with http, anybody on the way can sign in as anybody")
    return value


def _within(least: timedelta, most: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if not least <= value <= most:
            raise ValueError(f"must be from {format_duration(least)} to {format_duration(most)}")
        return value

    return AfterValidator(check)


def _line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("write one line, without control characters")
    return value


def _alias(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,15}", value):
        raise ValueError("use lower-case letters, digits and '-', at most 16 of them")
    return value


SignInLifetime = Annotated[Duration, _within(timedelta(minutes=1), timedelta(hours=12))]
OnwardLifetime = Annotated[Duration, _within(timedelta(seconds=30), timedelta(hours=1))]
HostLifetime = Annotated[Duration, _within(timedelta(hours=1), timedelta(days=366))]
File = Annotated[Path, AfterValidator(_path)]
Login = Annotated[str, AfterValidator(_login)]
Network = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]
ListenAddress = Annotated[str, AfterValidator(_listen_address)]
IssuerUrl = Annotated[str, AfterValidator(_issuer_url)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
ListenPort = Annotated[int, Field(strict=True, ge=0, le=65535)]
Switch = Annotated[bool, Field(strict=True)]
Line = Annotated[str, AfterValidator(_line)]
Alias = Annotated[str, AfterValidator(_alias)]
EXAMPLE_RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
"""What the documentation shows; nobody has its private half."""
Recipient = Annotated[str, AfterValidator(name_of)]
Text = Annotated[str, Field(min_length=1)]
