"""The two ends of a session: events in, a channel out, back-pressure both ways.

asyncssh calls back synchronously and does not wait; the relay is a coroutine that must write a recording between
reading and writing. An `Endpoint` stands between: callbacks only translate into events and enqueue, `receive` hands
them over in batches, and once enough bytes wait, the channel stops reading, so that a slow disk or a slow peer slows
the sender instead of growing our memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import asyncssh
from asyncssh.channel import SSHChannel

from bastion.transport.hooks import ServerConnection, Visit, sent_at_once
from bastion.transport.request import Pty, SessionRequest, accepted_environment
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

HIGH_WATER = 256 * 1024
"""Bytes that may wait to be received before the channel stops reading."""

EVENT_COST = 256
"""What an event counts beside its bytes: packets of one byte must not cost a hundred times as much memory."""

MAX_CONTROL_EVENTS = 256
"""Signals and breaks that may wait; the channel is aborted beyond (they have no flow control in RFC 4254)."""

MERGE_LIMIT = 64 * 1024
"""Neighbouring chunks of one stream are joined up to this size: fewer, larger lines in the recording."""

END_GRACE = 0.25
"""Seconds after the end of a target's output in which its exit may still follow."""

CLOSE_TIMEOUT = 10.0
"""Seconds a peer has to answer our channel close; then the channel is aborted."""


class Endpoint:
    """One end of a session."""

    def __init__(self) -> None:
        self.channel: SSHChannel[bytes] | None = None
        self.gone = asyncio.Event()
        self._queue: deque[Event] = deque()
        self._queued_bytes = 0
        self._queued_controls = 0
        self._reading_paused = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def closed(self) -> bool:
        return self.gone.is_set()

    async def receive(self) -> list[Event]:
        """All events since the last call, at least one; an empty list once the end is gone and drained."""
        while not self._queue:
            if self.closed:
                return []
            self._arrived.clear()
            await self._arrived.wait()
        events = merge(self._queue)
        self._queue.clear()
        self._queued_bytes = self._queued_controls = 0
        if self._reading_paused and self.channel is not None:
            self._reading_paused = False
            self.channel.resume_reading()
        return events

    def forget_typed(self) -> None:
        """Drop input that came and was not received: it was meant for somebody who is gone."""
        kept = [event for event in self._queue if not isinstance(event, Input)]
        self._queue.clear()
        self._queue.extend(kept)

    def unreceive(self, events: Sequence[Event]) -> None:
        """Put back events that the next `receive` should give again (typed ahead, meant for somebody else)."""
        self._queue.extendleft(reversed(events))
        self._arrived.set()

    async def deliver(self, events: Sequence[Event]) -> None:
        """Pass *events* to the peer and wait until it can take more; a peer that is gone takes everything."""
        with sent_at_once(self.channel):
            is_taken = self.put(events)
        if is_taken:
            await self._writable.wait()

    def put(self, events: Sequence[Event]) -> bool:
        """Pass *events* to the peer without waiting, for a few bytes only; false if it takes nothing any more."""
        if self.channel is None:
            return True
        try:
            for event in events:
                self._write(self.channel, event)
        except BrokenPipeError:
            return False
        return True

    def _write(self, channel: Any, event: Event) -> None:
        raise NotImplementedError

    def _push(self, event: Event) -> None:
        match event:
            case Output(data=data) | ErrorOutput(data=data) | Input(data=data):
                self._queued_bytes += len(data) + EVENT_COST
            case Resized():  # bounded: between two of them stands something else
                if self._queue and isinstance(self._queue[-1], Resized):
                    self._queue.pop()
            case Signalled() | BreakSent():
                self._queued_controls += 1
                if self._queued_controls > MAX_CONTROL_EVENTS:
                    self.abort()
                    return
        self._queue.append(event)
        self._arrived.set()
        if self.channel is not None and self._queued_bytes >= HIGH_WATER and not self._reading_paused:
            self._reading_paused = True
            self.channel.pause_reading()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        self._arrived.set()
        self._writable.set()

    def abort(self) -> None:
        """Close the channel at once; what the peer has not taken is dropped."""
        if self.channel is not None and not self.closed:
            self.channel.abort()

    async def drained(self) -> None:
        """Wait until the peer has taken everything that was passed on to it."""
        if self.channel is not None and not self.closed:
            self.channel.set_write_buffer_limits(high=0)
            await self._writable.wait()

    async def close(self) -> None:
        """Close the channel, at the latest after `CLOSE_TIMEOUT` by force."""
        if self.channel is None or self.closed:
            return
        self.channel.close()
        try:
            await asyncio.wait_for(self.channel.wait_closed(), CLOSE_TIMEOUT)
        except TimeoutError:
            self.channel.abort()


class ClientEnd(Endpoint, asyncssh.SSHServerSession[bytes]):
    """The end towards the person's client. *started* is called once the client has said what it wants."""

    def __init__(self, started: Callable[[ClientEnd], None]) -> None:
        super().__init__()
        self.request = SessionRequest(kind="shell")
        self._started = started
        self._pty: Pty | None = None
        self._input_ended = False
        self._end_timer: asyncio.TimerHandle | None = None

    @property
    def has_said_all(self) -> bool:
        """Whether the client has ended its input, and all of it was received."""
        return self._input_ended and not self._queue

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self.channel = chan

    async def open_back(self, end: TcpEnd, kind: Visit, origin: tuple[str, int]) -> None:
        """Open *end* to the client's agent or screen. Raises asyncssh.ChannelOpenError."""
        if self.channel is None or self.closed:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "the client is gone")
        await cast(ServerConnection, self.channel.get_connection()).open_back(end, kind, origin)

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        columns, rows, pixel_width, pixel_height = term_size
        self._pty = Pty(
            terminal=term_type,
            columns=columns,
            rows=rows,
            pixel_width=pixel_width,
            pixel_height=pixel_height,
            modes=dict(term_modes),
        )
        return True

    def shell_requested(self) -> bool:
        return self._requested("shell")

    def exec_requested(self, command: str) -> bool:
        return self._requested("exec", command) if command else self._requested("shell")

    def subsystem_requested(self, subsystem: str) -> bool:
        return self._requested("subsystem", subsystem)

    def _requested(self, kind: Any, command: str = "") -> bool:
        channel: Any = self.channel
        self.request = SessionRequest(
            kind=kind,
            command=command,
            pty=self._pty,
            environment=accepted_environment(channel.get_environment_bytes()),
            agent=channel.wants_agent,
            x11=channel.x11,
        )
        return True

    def session_started(self) -> None:
        self._started(self)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._push(Input(data))

    def eof_received(self) -> bool:
        self._input_ended = True
        self._push(InputEnded())
        return True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        self._push(Resized(width, height, pixwidth, pixheight))

    def signal_received(self, signal: str) -> None:
        self._push(Signalled(signal))

    def break_received(self, msec: int) -> bool:
        self._push(BreakSent(msec))
        return True

    def _write(self, channel: asyncssh.SSHServerChannel[bytes], event: Event) -> None:
        match event:
            case Output(data):
                channel.write(data)
            case ErrorOutput(data):
                channel.write_stderr(data)
            case OutputEnded() if self.request.pty is None:
                # A client whose own side has ended closes the channel at once, and never learns the exit status that
                # mostly follows within moments: tell of this end alone only if it does not.
                self._end_timer = asyncio.get_running_loop().call_later(END_GRACE, self._pass_end)
            case _:
                pass  # how it ended is told by `finish`, after the recording is sealed

    def _pass_end(self) -> None:
        if self.channel is not None and not self._input_ended:
            self.channel.write_eof()

    def _forget_end(self) -> None:
        if self._end_timer is not None:
            self._end_timer.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_end()
        super().connection_lost(exc)

    async def finish(self, ending: Exited | Killed | None) -> None:
        """Let every byte out at the client's own pace, tell it how the program ended, and close."""
        channel = self.channel
        if channel is None or self.closed:
            return
        assert isinstance(channel, asyncssh.SSHServerChannel)
        self._forget_end()
        # asyncssh sends the status ahead of data that still waits for window: drain first.
        await self.drained()
        match ending:
            case Exited(status):
                channel.exit(status)
            case Killed(signal, core_dumped, message):
                channel.exit_with_signal(signal, core_dumped, message)
            case None:
                pass
        await self.close()


class TcpEnd(Endpoint, asyncssh.SSHTCPSession[bytes]):
    """The end of a connection inside a connection (direct-tcpip and its kin), on either side of the bastion.

    It can be written to once it is *ready*. What its peer sends is `Input`, and ends with `InputEnded`; `Output` is
    sent to it, and `OutputEnded` ends that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ready = asyncio.Event()
        self._is_unwanted = False

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self.channel = chan

    def session_started(self) -> None:
        self.ready.set()
        if self._is_unwanted:
            super().abort()

    def abort(self) -> None:
        self._is_unwanted = True  # it may be on its way to be opened
        super().abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ready.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._push(Input(data))

    def eof_received(self) -> bool:
        self._push(InputEnded())
        return True

    def _write(self, channel: asyncssh.SSHTCPChannel[bytes], event: Event) -> None:
        match event:
            case Output(data):
                channel.write(data)
            case OutputEnded():
                channel.write_eof()
            case _:
                raise AssertionError(f"{event} does not travel over a connection")


class TargetEnd(Endpoint, asyncssh.SSHClientSession[bytes]):
    """The end towards the target. *exit* says how its program ended, once it is known."""

    def __init__(self) -> None:
        super().__init__()
        self.exit: Exited | Killed | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.channel = chan

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._push(ErrorOutput(data) if datatype == asyncssh.EXTENDED_DATA_STDERR else Output(data))

    def eof_received(self) -> bool:
        self._push(OutputEnded())
        return True

    def exit_status_received(self, status: int) -> None:
        self.exit = Exited(status & 0xFF)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self.exit = Killed(signal, core_dumped, msg)

    def connection_lost(self, exc: Exception | None) -> None:
        # The status arrives ahead of data that was still paused; only here is everything before it in the queue.
        if self.exit is not None:
            self._push(self.exit)
        super().connection_lost(exc)

    def _write(self, channel: asyncssh.SSHClientChannel[bytes], event: Event) -> None:
        match event:
            case Input(data):
                channel.write(data)
            case InputEnded():
                channel.write_eof()
            case Resized(columns, rows, pixel_width, pixel_height):
                channel.change_terminal_size(columns, rows, pixel_width, pixel_height)
            case Signalled(name):
                channel.send_signal(name)
            case BreakSent(milliseconds):
                channel.send_break(milliseconds)
            case _:
                raise AssertionError(f"{event} does not travel to a target")


def merge(events: Sequence[Event] | deque[Event]) -> list[Event]:
    """Join neighbouring chunks of the same stream, up to `MERGE_LIMIT` bytes each."""
    if len(events) == 1:
        return list(events)
    merged: list[Event] = []
    parts: list[bytes] = []
    kind: type[Output] | type[ErrorOutput] | type[Input] | None = None
    size = 0
    for event in events:
        if isinstance(event, (Output, ErrorOutput, Input)):
            if type(event) is not kind or size + len(event.data) > MERGE_LIMIT:
                _flush(merged, kind, parts)
                kind, parts, size = type(event), [], 0
            parts.append(event.data)
            size += len(event.data)
        else:
            _flush(merged, kind, parts)
            kind, parts, size = None, [], 0
            merged.append(event)
    _flush(merged, kind, parts)
    return merged


def _flush(
    merged: list[Event], kind: type[Output] | type[ErrorOutput] | type[Input] | None, parts: list[bytes]
) -> None:
    if kind is not None and parts:
        merged.append(kind(parts[0] if len(parts) == 1 else b"".join(parts)))
