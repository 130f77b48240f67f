"""The table of commands, and a click group that imports a command's module only when the command is used.

So `bastion --help` is quick, and a module that cannot be imported takes only its own command with it. To add a
command: a module `cli/<name>.py` with a click command or group of that name, and a line here.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

import click

COMMANDS = {
    "init": "Write a configuration and keys.",
    "check": "Check the configuration.",
    "serve": "Run the bastion until it is told to stop (SIGTERM).",
    "target": "Add, list, check and scan targets.",
    "policy": "Explain who may reach what.",
    "ca": "Show and rotate the certificate authorities.",
    "recorder": "Show and rotate the key that signs recordings; encrypt some.",
    "cert": "List and revoke sign-ins and their certificates.",
    "user": "Lock and unlock people; release a name.",
    "audit": "List what happened: sign-ins, refusals, changes.",
    "sessions": "List recorded sessions.",
    "play": "Replay a recorded session.",
    "search": "Find the sessions that showed a text.",
    "index": "Rebuild the index of recordings.",
    "follow": "Watch a session while it runs.",
    "kill": "End a session that runs.",
    "export": "Write a recorded session in another form.",
    "verify": "Prove that a recording was not changed.",
    "retention": "Remove recordings by the rules for them.",
    "hold": "Keep recordings from being removed.",
    "backup": "Copy all that must not be lost.",
    "login": "Sign in and get a certificate for ssh.",
    "kubeconfig": "Print a kubeconfig for a cluster behind the bastion.",
}
"""Name of each command, of its module and of the click command in it; and its line in `bastion --help`."""


class BrokenCommand(click.ClickException):
    """The module of a command cannot be imported: this installation is damaged."""

    exit_code = 70


class LazyGroup(click.Group):
    """The commands of COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and (close := get_close_matches(args[0], COMMANDS, n=1)):
            ctx.fail(f"There is no command {args[0]!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the table without importing what it names."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def load_command(name: str) -> click.Command:
    """Import the command *name* of COMMANDS; BrokenCommand when its module cannot be imported."""
    try:
        command = getattr(import_module(f"cli.{name}"), name)
    except ImportError as error:
        raise BrokenCommand(f"the command {name!r} of this installation cannot be loaded: {error}") from error
    if not isinstance(command, click.Command):
        raise TypeError(f"cli.{name}.{name} is not a click command")
    return command
