"""One call of a built-in command: what it was given, and where it answers."""

from __future__ import annotations

from dataclasses import dataclass

from bastion.errors import BastionError
from bastion.identity.person import Person
from bastion.sessions.session import Client
from bastion.ssh.front import Front
from bastion.ssh.terminal import ChannelTerminal


class UsageError(BastionError):
    """The words after a command of ours make no sense."""

    exit_code = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a built-in command."""

    arguments: tuple[str, ...]
    terminal: ChannelTerminal
    front: Front
    person: Person
    client: Client
