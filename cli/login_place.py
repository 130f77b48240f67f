"""Which bastion `bastion login` goes to: what was typed, or what the last time left in login.toml.

Reads and writes that one small file. Knows nothing of SSH.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bastion.errors import BastionError
from bastion.runtime.files import replace_file

_PLACE = re.compile(
    r"(?:(?P<user>[^\s:]+)@)?(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*))"
    r"(?::(?P<port>\d{1,5}))?"
)
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class PlaceError(BastionError):
    """What was typed names no bastion."""

    exit_code = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A bastion as a person calls it. *alias* is its name for ssh, *user* the SSH user name to write there."""

    host: str
    port: int = 22
    user: str = ""
    alias: str = "bastion"

    @property
    def known_hosts_name(self) -> str:
        """How known_hosts calls it (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"


def choose_place(typed: str | None, alias: str | None, remembered: Place | None) -> Place:
    """The bastion to go to; raises PlaceError when that cannot be told."""
    if alias is not None and not _ALIAS.fullmatch(alias):
        raise PlaceError(f"{alias!a} cannot be a name for ssh", hint="Use letters, digits, '.', '_' and '-'.")
    if typed is None or (remembered is not None and typed == remembered.alias):
        if remembered is None:
            raise PlaceError(
                "which bastion?",
                hint="Name it once, and it is remembered: bastion login bastion.example.com:2222",
            )
        place = remembered
    else:
        place = _parse(typed)
    return Place(**(asdict(place) | {"alias": alias or place.alias}))


def _parse(typed: str) -> Place:
    found = _PLACE.fullmatch(typed)
    port = int(found["port"] or 22) if found else 0
    if found is None or not 1 <= port <= 65535:
        raise PlaceError(
            f"{typed!a} is not a bastion", hint="Write [user@]host[:port]; an IPv6 address in brackets."
        )
    return Place(host=found["address"] or found["host"], port=port, user=found["user"] or "")


def config_folder(environment: Mapping[str, str], home: Path) -> Path:
    """Where `login.toml` is, by the XDG base directories."""
    base = environment.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else home / ".config") / "bastion"


def read_remembered(path: Path) -> Place | None:
    """The bastion of the last time; None when there was none, or the file makes no sense."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return _from_values(values)


def _from_values(values: Mapping[str, object]) -> Place | None:
    match values:
        case {"host": str(host), "port": int(port), "user": str(user), "alias": str(alias)} if (
            0 < port < 65536 and _ALIAS.fullmatch(alias)
        ):
            return Place(host=host, port=port, user=user, alias=alias)
    return None


def remember(path: Path, place: Place) -> None:
    """Write *place* down for the next time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A JSON string or number is a TOML string or number too.
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in asdict(place).items()]
    replace_file(path, "".join(["# The bastion of the last `bastion login`.\n", *lines]).encode())
