"""The log of a container as the target's end of a session, and the options that `logs` takes."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from bastion.connectors.kubernetes.cluster import Answer, Cluster, path_with, pod_path
from bastion.connectors.kubernetes.refusals import refusal
from bastion.errors import TargetError
from bastion.sessions.pods import PodName
from bastion.transport.request import SessionRequest
from policy.decide import quoted
from policy.durations import parse_duration
from policy.errors import PolicyError
from recorder.events import Event, Exited, Input, Killed, Output

USAGE = "logs TARGET/NAMESPACE/POD[:CONTAINER] [-f] [--tail LINES] [--since 10m] [--timestamps] [--previous]"
_INTERRUPT = b"\x03"
_INTERRUPTED = 130
_LONE_NEWLINE = re.compile(rb"(?<!\r)\n")
_SWITCHES = {
    "-f": "follow",
    "--follow": "follow",
    "--timestamps": "timestamps",
    "-p": "previous",
    "--previous": "previous",
}


class LogEnd:
    """The `TargetSide` of a log; it ends with the log or, where a client has a terminal, with Ctrl-C."""

    def __init__(self, answer: Answer, *, has_terminal: bool) -> None:
        self.exit: Exited | Killed | None = None
        self._pieces = answer.pieces()
        self._has_terminal = has_terminal
        self._waiting: asyncio.Timeout | None = None

    async def receive(self) -> list[Event]:
        if self.exit is not None:
            return []
        piece = await self._next()
        if piece is None:
            return [self._ended(Exited(0))]
        # Nobody is there who would do this for the client's terminal.
        return [Output(_LONE_NEWLINE.sub(b"\r\n", piece) if self._has_terminal else piece)]

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(None) as self._waiting:
                return await anext(self._pieces, None)
        except TimeoutError:  # interrupted
            return None

    def _ended(self, exit_: Exited) -> Exited | Killed:
        """How it ended: by what has happened first."""
        if self.exit is None:
            self.exit = exit_
        return self.exit

    async def deliver(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case Input(data) if self._has_terminal and _INTERRUPT in data:
                    self._ended(Exited(_INTERRUPTED))
                    if self._waiting is not None and not self._waiting.expired():
                        self._waiting.reschedule(asyncio.get_running_loop().time())
                case _:
                    pass  # a log takes no input


@asynccontextmanager
async def open_log(cluster: Cluster, pod: PodName, request: SessionRequest) -> AsyncIterator[LogEnd]:
    """The log of *pod*, with what is asked for of it in the command of *request*. Raises TargetError."""
    query = query_of(request.command)
    if pod.container:
        query["container"] = pod.container
    path = path_with(pod_path(pod.namespace, pod.pod, "log"), query)
    async with cluster.request("GET", path) as answer:
        if answer.status != 200:
            raise refusal(cluster.name, answer.status, await answer.read())
        yield LogEnd(answer, has_terminal=request.pty is not None)


def query_of(command: str) -> dict[str, str]:
    """What the options of *command*, `logs …`, mean to the API. Raises TargetError with how to write them."""
    query: dict[str, str] = {}
    try:
        words = iter(shlex.split(command)[1:])
    except ValueError as error:
        raise _usage(f"these words cannot be told apart ({error})") from None
    for word in words:
        option, equals, value = word.partition("=")
        if word in _SWITCHES:
            query[_SWITCHES[word]] = "true"
        elif option in _WITH_VALUE:
            name, understand = _WITH_VALUE[option]
            query[name] = understand(option, value if equals else next(words, ""))
        else:
            raise _usage(f"logs does not know {quoted(word)}")
    return query


def _lines(option: str, value: str) -> str:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise _usage(f"{option} needs a number of lines")
    return value


def _seconds(option: str, value: str) -> str:
    try:
        return str(max(1, round(parse_duration(value).total_seconds())))
    except (PolicyError, ValueError):
        raise _usage(f"{option} needs a time such as 10m or 2h") from None


_WITH_VALUE: dict[str, tuple[str, Callable[[str, str], str]]] = {
    "--tail": ("tailLines", _lines),
    "--since": ("sinceSeconds", _seconds),
}


def _usage(problem: str) -> TargetError:
    return TargetError(problem, hint=f"Write: ssh BASTION {USAGE}")
