"""The login door of a bastion, and nothing behind it: an SSH server for the user `login`.

The conversations are the real ones (Exchange, DeviceLogin), on real SSH connections; only what stands behind them in
the product, state and authorities, is a set of digests and a CA key here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import asyncssh

from bastion.errors import SignInError
from bastion.identity.device import DeviceLogin, sign_in_text
from bastion.identity.exchange import Exchange, Granted, Refused, read_token, write_answer
from bastion.identity.oidc import Provider


@dataclass
class Door:
    """An SSH server on a free port that signs certificates for who signs in at *provider*."""

    provider: Provider
    host_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    ca_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    used: set[str] = field(default_factory=set)
    port: int = 0
    wrong_key: bool = False

    async def __aenter__(self) -> Door:
        self._server = await asyncssh.create_server(
            _Gate,
            "127.0.0.1",
            self.port,
            server_host_keys=[self.host_key],
            process_factory=self._serve,
            encoding=None,
        )
        self.port = self._server.get_port()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def use(self, digest: str, expires_at: float) -> bool:
        fresh = digest not in self.used
        self.used.add(digest)
        return fresh

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        key = process.get_extra_info("connection").get_owner().key
        try:
            if process.command == "exchange":
                process.exit(await self._exchange(process, key))
            else:
                await self._device(process, key)
                process.exit(0)
        except SignInError as error:
            process.stderr.write(f"{error}\n".encode())
            process.exit(error.exit_code)

    async def _exchange(self, process: asyncssh.SSHServerProcess[bytes], key: asyncssh.SSHKey) -> int:
        exchange = Exchange(self.provider, use_token=self.use, now=time.time)
        process.stdout.write(exchange.hello())
        line = await process.stdin.readline()
        if not line:
            return 77
        try:
            identity = await exchange.accept(read_token(line), key.public_data)
        except SignInError as error:
            process.stdout.write(write_answer(Refused(error=error.message, hint=error.hint)))
            return error.exit_code
        certificate = self.certify(key, identity.user)
        process.stdout.write(
            write_answer(Granted(certificate=certificate, expires_at=time.time() + 3600, user=identity.user))
        )
        return 0

    async def _device(self, process: asyncssh.SSHServerProcess[bytes], key: asyncssh.SSHKey) -> None:
        login = await DeviceLogin.start(self.provider)
        process.stderr.write(sign_in_text(login, client_address="127.0.0.1").encode())
        identity = await login.wait()
        process.stdout.write(f"{self.certify(key, identity.user)}\n".encode())

    def certify(self, key: asyncssh.SSHKey, user: str) -> str:
        """A certificate for an hour, as one line."""
        if self.wrong_key:
            key = asyncssh.generate_private_key("ssh-ed25519")
        certificate = self.ca_key.generate_user_certificate(
            key, f"u:{user}", principals=[user], valid_before="+1h"
        )
        return certificate.export_certificate().decode().strip()


class _Gate(asyncssh.SSHServer):
    key: asyncssh.SSHKey | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        conn.set_extra_info(connection=conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self.key = key
        return username == "login"
