"""A program of this machine as the target's end of a session: on a terminal of its own, or on three pipes."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any, cast

from bastion.transport.endpoint import Endpoint
from bastion.transport.request import Pty
from recorder.events import (
    BreakSent,
    ErrorOutput,
    Event,
    Exited,
    Input,
    InputEnded,
    Killed,
    Output,
    OutputEnded,
    Resized,
    Signalled,
)

KILL_TIMEOUT = 5.0
"""Seconds that a program has to end once it was told to."""

SIGNALS = ("HUP", "INT", "KILL", "QUIT", "TERM")
"""What a client may send: to end a program, or, with INT, what it does."""


class ProgramEnd(Endpoint):
    """The end towards a program. *exit* says how it ended, once it has."""

    def __init__(self) -> None:
        super().__init__()
        self.exit: Exited | Killed | None = None
        self._reading: list[asyncio.ReadTransport] = []
        self._writing: asyncio.WriteTransport | None = None
        self._terminal: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._open_outputs = 0
        self._outputs_ended = asyncio.Event()
        self.channel = cast(Any, self)  # what an `Endpoint` asks of a channel, this has itself

    # What an Endpoint asks of its channel

    def pause_reading(self) -> None:
        for transport in self._reading:
            transport.pause_reading()

    def resume_reading(self) -> None:
        for transport in self._reading:
            if not transport.is_closing():
                transport.resume_reading()

    # The program

    async def _attach(
        self, outputs: Sequence[tuple[int, type[Output] | type[ErrorOutput]]], given: int
    ) -> None:
        loop = asyncio.get_running_loop()
        self._open_outputs = len(outputs)
        for descriptor, kind in outputs:
            file = os.fdopen(descriptor, "rb", buffering=0)
            transport, _ = await loop.connect_read_pipe(lambda kind=kind: _Reader(self, kind), file)  # type: ignore[misc]
            self._reading.append(transport)
        file = os.fdopen(given, "wb", buffering=0)
        writing, _ = await loop.connect_write_pipe(lambda: _Writer(self), file)
        self._writing = writing

    def arrived(self, kind: type[Output] | type[ErrorOutput], data: bytes) -> None:
        self._push(kind(data))

    def output_ended(self) -> None:
        self._open_outputs -= 1
        if not self._open_outputs:
            self._outputs_ended.set()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Tell how the program ended, after all it has written."""
        status = await process.wait()
        await self._outputs_ended.wait()
        self.exit = (
            Killed(signal.Signals(-status).name.removeprefix("SIG")) if status < 0 else Exited(status & 0xFF)
        )
        self._push(OutputEnded())
        self._push(self.exit)
        self.connection_lost(None)

    def _write(self, channel: Any, event: Event) -> None:
        match event:
            case Input(data):
                if self._writing is not None and not self._writing.is_closing():
                    self._writing.write(data)
            case InputEnded():
                self._end_input()
            case Resized(columns, rows, width, height):
                self._resize(columns, rows, width, height)
            case Signalled(name):
                self._signal(name)
            case BreakSent():
                pass  # means nothing to a terminal that is no line
            case _:
                raise AssertionError(f"{event} does not travel to a program")

    def _end_input(self) -> None:
        if self._writing is None:
            return
        if self._terminal is None:
            self._writing.close()
        else:
            self._writing.write(b"\x04")

    def _resize(self, columns: int, rows: int, width: int = 0, height: int = 0) -> None:
        if self._terminal is not None and not (self._writing is not None and self._writing.is_closing()):
            size = struct.pack("HHHH", *(min(side, 0xFFFF) for side in (rows, columns, width, height)))
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    def leads(self, pid: int) -> bool:
        """Whether *pid* is a process of this program: of the session (setsid) that it was started in."""
        try:
            return self._process is not None and os.getsid(pid) == self._process.pid
        except ProcessLookupError:
            return False

    def _signal(self, name: str) -> None:
        """Send it to all that runs: those that the terminal sends too are for the program alone, others end the box."""
        if name in SIGNALS and self._process is not None:
            _send(self._process, signal.Signals[f"SIG{name}"])

    def close_all(self) -> None:
        for transport in (*self._reading, self._writing):
            if transport is not None:
                transport.close()


class _Reader(asyncio.Protocol):
    def __init__(self, end: ProgramEnd, kind: type[Output] | type[ErrorOutput]) -> None:
        self._end = end
        self._kind = kind

    def data_received(self, data: bytes) -> None:
        self._end.arrived(self._kind, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.output_ended()  # a terminal whose program is gone ends in an error (EIO)


class _Writer(asyncio.BaseProtocol):
    def __init__(self, end: ProgramEnd) -> None:
        self._end = end

    def pause_writing(self) -> None:
        self._end.pause_writing()

    def resume_writing(self) -> None:
        self._end.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.resume_writing()


@asynccontextmanager
async def running(
    command: Sequence[str], pty: Pty | None, *, descriptors: Sequence[int]
) -> AsyncIterator[ProgramEnd]:
    """Run *command* on a terminal like *pty*, or on pipes; it and its children are gone on leaving. Raises OSError.

    *descriptors* are open in it, and stay open here.
    """
    end = ProgramEnd()
    with ExitStack() as ours:
        if pty is not None:
            process = await _on_terminal(end, command, pty, descriptors, ours)
        else:
            process = await _on_pipes(end, command, descriptors, ours)
        ours.pop_all()
    end._process = process
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(end._watch(process))
        try:
            yield end
        finally:
            end.close_all()
            await asyncio.shield(_end(process))
            watching.cancel()


async def _on_terminal(
    end: ProgramEnd, command: Sequence[str], pty: Pty, descriptors: Sequence[int], ours: ExitStack
) -> asyncio.subprocess.Process:
    outer, inner = os.openpty()
    ours.callback(os.close, outer)
    try:
        end._terminal = outer
        end._resize(pty.columns, pty.rows, pty.pixel_width, pty.pixel_height)
        process = await asyncio.create_subprocess_exec(
            "setsid", "--ctty", *command, stdin=inner, stdout=inner, stderr=inner, pass_fds=tuple(descriptors)
        )
    finally:
        os.close(inner)
    given = os.dup(outer)
    await end._attach([(outer, Output)], given)
    end._terminal = given
    return process


async def _on_pipes(
    end: ProgramEnd, command: Sequence[str], descriptors: Sequence[int], ours: ExitStack
) -> asyncio.subprocess.Process:
    pairs = [os.pipe() for _ in range(3)]
    theirs = (pairs[0][0], pairs[1][1], pairs[2][1])
    for descriptor in (pairs[0][1], pairs[1][0], pairs[2][0]):
        ours.callback(os.close, descriptor)
    try:
        process = await asyncio.create_subprocess_exec(
            "setsid",
            *command,
            stdin=theirs[0],
            stdout=theirs[1],
            stderr=theirs[2],
            pass_fds=tuple(descriptors),
        )
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    await end._attach([(pairs[1][0], Output), (pairs[2][0], ErrorOutput)], pairs[0][1])
    return process


async def _end(process: asyncio.subprocess.Process) -> None:
    """See that *process* is gone: whatever it runs goes with it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        _send(process, number)
        try:
            async with asyncio.timeout(KILL_TIMEOUT):
                await process.wait()
        except TimeoutError:
            continue


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send to all that *process* leads. (`Process.send_signal` may reap it, and then nobody learns how it ended.)"""
    if process.returncode is None:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return  # it has ended by itself
