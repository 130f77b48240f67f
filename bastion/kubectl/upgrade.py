"""What a request for streams asks for: which program of which pod, and how. Pure, like `resource.py`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from bastion.kubectl.resource import ApiRequest
from bastion.transport.request import Pty, SessionRequest

_TERMINAL = "xterm"
"""What a container runtime gives a program for TERM; kubectl tells nobody its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """An exec, or an attach (then without a *command*)."""

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...]
    stdin: bool
    tty: bool

    @property
    def path(self) -> str:
        """`namespace/pod:container`, as a person would name it to ssh."""
        where = f"{self.namespace}/{self.pod}"
        return f"{where}:{self.container}" if self.container else where

    @property
    def session(self) -> SessionRequest:
        """The session that this is: a shell where somebody can type into a terminal."""
        return SessionRequest(
            kind="shell" if self.tty and self.stdin else "exec",
            command=shlex.join(self.command),
            pty=Pty(terminal=_TERMINAL, columns=80, rows=24) if self.tty else None,
            program=self.command,
            takes_input=self.stdin,
        )


def streams_of(request: ApiRequest) -> Streams:
    """What *request*, an exec or attach of a pod, asks for."""
    query = request.query

    def is_set(name: str) -> bool:
        values = query.get(name)
        return values is not None and values[0].lower() not in ("false", "0")

    return Streams(
        namespace=request.namespace,
        pod=request.name,
        container=query.get("container", [""])[0],
        command=tuple(query.get("command", [])) if request.subresource == "exec" else (),
        stdin=is_set("stdin"),
        tty=is_set("tty"),
    )
