"""A peer that sends faster than we read is slowed, however often we read a little and stop again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncssh

from bastion.transport.endpoint import HIGH_WATER, TargetEnd
from bastion.transport.hooks import WINDOW, connect
from bastion.transport.request import SessionRequest
from recorder.events import Output

FLOOD = 24 * 1024 * 1024


class _Trusting(asyncssh.SSHClient):
    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        return True


async def _flood(process: asyncssh.SSHServerProcess[bytes]) -> None:
    for _ in range(FLOOD // 32768):
        process.stdout.write(bytes(32768))
        await process.stdout.drain()
    process.exit(0)


async def test_slow_reader_lets_no_more_than_a_window_wait(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    options: dict[str, Any] = {"known_hosts": ([], [], []), "client_keys": [key], "username": "u"}
    (tmp_path / "keys").write_bytes(key.export_public_key())
    async with asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[key], authorized_client_keys=str(tmp_path / "keys"),
        process_factory=_flood, encoding=None,
    ) as server:  # fmt: skip
        connection = await connect(_Trusting, "127.0.0.1", server.get_port(), **options)
        end = await connection.open_channel(TargetEnd(), SessionRequest(kind="exec", command="flood"))
        most = total = 0
        while events := await end.receive():
            total += sum(len(event.data) for event in events if isinstance(event, Output))
            waiting = sum(len(data) for data, _ in end.channel._recv_buf) if end.channel else 0
            most = max(most, waiting)
            await asyncio.sleep(0.001)  # so much slower than the peer that it always has more to send
        connection.close()
        await connection.wait_closed()
    assert total == FLOOD
    assert HIGH_WATER < most <= WINDOW
