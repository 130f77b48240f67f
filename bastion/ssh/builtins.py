"""The bastion's own commands over SSH: `ssh bastion WORD …`. One function each, and a table of them.

Each writes to a `ChannelTerminal` and returns an exit status; what cannot be done is raised as an error with a
message for the person. Whoever may see a session is asked of the policy, per session.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bastion.connectors.kubernetes.logs import USAGE
from bastion.identity.person import Person
from bastion.sessions.session import Client
from bastion.ssh import replay
from bastion.ssh.call import Call, UsageError
from bastion.ssh.front import Front
from bastion.ssh.kubeconfig import kubeconfig
from bastion.ssh.search import search
from bastion.ssh.terminal import ChannelTerminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """A command, and the line `help` prints for it."""

    usage: str
    summary: str
    run: Callable[[Call], Awaitable[int]]


async def run_builtin(
    word: str,
    arguments: tuple[str, ...],
    terminal: ChannelTerminal,
    front: Front,
    person: Person,
    client: Client,
) -> int:
    """Run the command *word*. Raises UsageError, and whatever the command raises."""
    builtin = BUILTINS.get(word)
    if builtin is None:
        raise UsageError(f"{word} is not here yet", hint="ssh BASTION help lists what is.")
    call = Call(arguments=arguments, terminal=terminal, front=front, person=person, client=client)
    return await builtin.run(call)


async def _help(call: Call) -> int:
    width = max(len(builtin.usage) for builtin in BUILTINS.values())
    lines = [f"  {builtin.usage:<{width}}  {builtin.summary}" for builtin in BUILTINS.values()]
    await call.terminal.say("\n".join(["Commands of this bastion:", *lines, ""]))
    return 0


async def _whoami(call: Call) -> int:
    person = call.person
    until = datetime.fromtimestamp(person.expires_at, UTC)
    if call.arguments == ("--json",):
        record = {
            "user": person.user,
            "groups": list(person.groups),
            "issuer": person.issuer,
            "serial": f"{person.serial:016x}",
            "method": person.method,
            "key": person.key_fingerprint,
            "expires_at": until.isoformat(),
        }
        await call.terminal.say(json.dumps(record) + "\n")
        return 0
    groups = ", ".join(person.groups) or "none"
    await call.terminal.say(
        f"user     {person.user}\ngroups   {groups}\nsign-in  {person.serial:016x} ({person.method})\n"
        f"expires  {until:%Y-%m-%d %H:%M} UTC\n"
    )
    return 0


async def _targets(call: Call) -> int:
    reachable = await asyncio.to_thread(call.front.admission.reachable, call.person)
    if call.arguments == ("--json",):
        records = [
            {
                "name": target.name,
                "kind": target.kind,
                "description": target.description,
                "labels": target.labels,
                "logins": logins,
            }
            for target, logins in reachable
        ]
        await call.terminal.say(json.dumps(records) + "\n")
        return 0
    width = max((len(target.name) for target, _ in reachable), default=0)
    lines = [
        f"{target.name:<{width}}  {target.kind}  {', '.join(logins)}  {target.description}".rstrip()
        for target, logins in reachable
    ]
    await call.terminal.say("".join(f"{line}\n" for line in lines) or "No rule lets you reach any target.\n")
    return 0


async def _logs(call: Call) -> int:
    """With a pod named, `route` makes it a session on the cluster; here it has none."""
    raise UsageError("name a pod", hint=f"ssh BASTION {USAGE}")


async def _logout(call: Call) -> int:
    front, person = call.front, call.person
    await front.state.grants.revoke(person.serial, by=person.user, reason="signed out")
    await front.state.audit.record("sign-in.ended", user=person.user, client=str(call.client))
    await front.end_withdrawn_sessions()
    await call.terminal.say("Signed out: this sign-in and its certificate are good for nothing now.\n")
    return 0


BUILTINS: dict[str, Builtin] = {
    "menu": Builtin(usage="menu", summary="choose a target from a list (needs ssh -t)", run=_help),
    "targets": Builtin(usage="targets [--json]", summary="list the targets you can reach", run=_targets),
    "sessions": Builtin(
        usage="sessions [--json]", summary="list recorded sessions you may see", run=replay.sessions
    ),
    "search": Builtin(usage="search TEXT [--json]", summary="find what was shown or typed", run=search),
    "play": Builtin(
        usage="play ID [--at TIME]", summary="replay one (needs ssh -t for keys)", run=replay.play
    ),
    "follow": Builtin(usage="follow ID", summary="watch one while it runs", run=replay.follow),
    "verify": Builtin(usage="verify ID…", summary="say whether recordings are unchanged", run=replay.verify),
    "fetch": Builtin(usage="fetch ID", summary="get the file of one that is encrypted", run=replay.fetch),
    "kubeconfig": Builtin(
        usage="kubeconfig CLUSTER",
        summary="what your own kubectl needs to reach it through here",
        run=kubeconfig,
    ),
    "logs": Builtin(
        usage="logs CLUSTER/NAMESPACE/POD", summary="what a container writes [-f] [--tail N]", run=_logs
    ),
    "whoami": Builtin(usage="whoami [--json]", summary="who you are here, and until when", run=_whoami),
    "logout": Builtin(usage="logout", summary="end this sign-in everywhere", run=_logout),
    "help": Builtin(usage="help", summary="this list", run=_help),
}
