"""What runs in the double's pods: real programs of this machine, on a real terminal where one is asked for."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_PIECE = 32 * 1024
_SMALL = (
    "sh",
    "cat",
    "echo",
    "stty",
    "ls",
    "sleep",
    "env",
    "head",
    "wc",
    "tty",
    "tar",
    "dd",
    "seq",
    "id",
    "true",
    "date",
)
"""What there is in a container that has no bash."""


class Programs:
    """What containers find on their PATH: all of this machine, little without bash, or nothing at all."""

    def __init__(self, folder: Path) -> None:
        self._small, self._none = folder / "small", folder / "none"
        for each in (self._small, self._none):
            each.mkdir(parents=True, exist_ok=True)
        for name in _SMALL:
            link, found = self._small / name, shutil.which(name, path="/bin:/usr/bin")
            if found is not None and not link.exists():
                link.symlink_to(found)

    def path(self, image: str) -> str:
        return {"busybox": str(self._small), "distroless": str(self._none)}.get(image, "/bin:/usr/bin")


async def run(
    socket: web.WebSocketResponse, command: Sequence[str], *, tty: bool, stdin: bool, path: str, host: str
) -> None:
    """Run *command* over an agreed *socket* until it ends, and say how it did."""
    if socket.ws_protocol == V4:  # greets on each stream with an empty frame
        for channel in range(4):
            await socket.send_bytes(bytes([channel]))
    program = shutil.which(command[0], path=path) if "/" not in command[0] else command[0]
    if program is None or not os.access(program, os.X_OK):
        reason = f'exec: "{command[0]}": executable file not found in $PATH: unknown'
        await _finish(
            socket, _failure(f"Internal error occurred: error executing command in container: {reason}")
        )
        return
    environment = {"PATH": path, "HOME": "/", "HOSTNAME": host, "PS1": "/ # "}
    if tty:
        environment["TERM"] = "xterm"
    running = _Running(socket, [program, *command[1:]], environment, stdin=stdin)
    status = await (running.on_terminal() if tty else running.on_pipes())
    await _finish(socket, _exit(status))


class _Running:
    def __init__(
        self, socket: web.WebSocketResponse, command: list[str], environment: dict[str, str], *, stdin: bool
    ) -> None:
        self._socket = socket
        self._command = command
        self._environment = environment
        self._stdin = stdin
        self._terminal = -1

    async def on_terminal(self) -> int:
        loop = asyncio.get_running_loop()
        ours, theirs = pty.openpty()
        self._terminal = ours
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=theirs, stdout=theirs, stderr=theirs, env=self._environment, cwd="/",
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        reader = asyncio.StreamReader(limit=_PIECE)
        reading, _ = await loop.connect_read_pipe(
            lambda: _TerminalProtocol(reader), os.fdopen(os.dup(ours), "rb", 0)
        )
        writing, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(os.dup(ours), "wb", 0)
        )
        writer = asyncio.StreamWriter(writing, protocol, None, loop)
        try:
            return await self._relay(process, writer, {1: reader})
        finally:
            reading.close()
            writing.close()
            os.close(ours)

    async def on_pipes(self) -> int:
        pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe if self._stdin else null, stdout=pipe, stderr=pipe, env=self._environment,
            cwd="/", start_new_session=True, limit=_PIECE,
        )  # fmt: skip
        assert process.stdout and process.stderr
        return await self._relay(process, process.stdin, {1: process.stdout, 2: process.stderr})

    async def _relay(
        self,
        process: asyncio.subprocess.Process,
        writer: asyncio.StreamWriter | None,
        outputs: dict[int, asyncio.StreamReader],
    ) -> int:
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen(process, writer))
                speaking = [
                    group.create_task(self._speak(channel, reader)) for channel, reader in outputs.items()
                ]
                status = await process.wait()
                await asyncio.wait(speaking, timeout=2)  # somebody in the background may keep it open
                for task in (listening, *speaking):
                    task.cancel()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            process._transport.close()  # type: ignore[attr-defined]  # what nobody read keeps a pipe open else
            await asyncio.sleep(0)
        return status if status >= 0 else 128 - status

    async def _speak(self, channel: int, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(_PIECE):
                await self._socket.send_bytes(bytes([channel]) + data)
        except OSError:  # EIO: nobody has the other side of the terminal any more; or the client is gone
            return

    async def _listen(self, process: asyncio.subprocess.Process, writer: asyncio.StreamWriter | None) -> None:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY and message.data:
                await self._take(message.data[0], message.data[1:], writer)
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGHUP)

    async def _take(self, channel: int, data: bytes, writer: asyncio.StreamWriter | None) -> None:
        match channel:
            case 0 if writer is not None and self._stdin:
                try:
                    writer.write(data)
                    await writer.drain()
                except ConnectionError:
                    pass  # the program reads no more
            case 4 if self._terminal >= 0:
                size = json.loads(data)
                packed = struct.pack("HHHH", size["Height"], size["Width"], 0, 0)
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, packed)
            case 255 if self._socket.ws_protocol == V5 and data == b"\0" and writer is not None:
                if self._terminal < 0:
                    writer.close()


class _TerminalProtocol(asyncio.StreamReaderProtocol):
    """Takes EIO, which says that nobody has the other side of a terminal any more, for the end that it is."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(None)


async def _finish(socket: web.WebSocketResponse, status: dict[str, Any]) -> None:
    if not socket.closed:
        await socket.send_bytes(b"\x03" + json.dumps(status).encode())
        await socket.close(code=1000)


def _exit(status: int) -> dict[str, Any]:
    if status == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {status}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(status)}]},
    }


def _failure(message: str) -> dict[str, Any]:
    return {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError", "code": 500}
