"""`ssh login@bastion`: a certificate for the key the client proved, on stdout.

Without arguments the person signs in by a code, shown on stderr, so that stdout can go straight into a file. With
`exchange` it is the conversation of `bastion login` (see `bastion.identity.exchange`).
"""

from __future__ import annotations

import asyncio

import asyncssh

from bastion.errors import BastionError, SignInError
from bastion.identity.exchange import LARGEST_MESSAGE, Exchange, Granted, Refused, read_token, write_answer
from bastion.sessions.session import Client
from bastion.ssh.front import Front
from bastion.ssh.sign_in import DeviceSignIn, issue_certificate, record_refusal
from bastion.ssh.terminal import ChannelTerminal


async def run_login(
    terminal: ChannelTerminal,
    front: Front,
    client: Client,
    key: asyncssh.SSHKey | None,
    arguments: tuple[str, ...],
) -> int:
    """Serve one `login`; returns the exit status."""
    if key is None:
        raise SignInError(
            "a certificate is made for a key, and your client proved none",
            hint="Connect as login with a key: ssh -i ~/.ssh/id_ed25519 login@…",
        )
    if arguments == ("exchange",):
        return await _exchange(terminal, front, client, key)
    if arguments:
        raise SignInError(
            "login takes no arguments", hint="ssh login@… > ~/.ssh/id_ed25519-cert.pub is all there is to it."
        )
    return await _device(terminal, front, client, key)


async def _device(terminal: ChannelTerminal, front: Front, client: Client, key: asyncssh.SSHKey) -> int:
    try:
        sign_in = await DeviceSignIn.start(front, client, key)
        await terminal.say(sign_in.text(), error=True)
        identity = await sign_in.identity()
        certificate, grant = await issue_certificate(front, identity, "device", client, key)
    except SignInError as error:
        await record_refusal(front, client, error)
        raise
    await terminal.say(f"Signed in as {grant.user}.\n", error=True)
    await terminal.say(f"{certificate.strip()}\n")
    return 0


async def _exchange(terminal: ChannelTerminal, front: Front, client: Client, key: asyncssh.SSHKey) -> int:
    exchange = Exchange(front.provider(), use_token=front.state.tokens.use, now=front.now)
    await terminal.write(exchange.hello())
    try:
        async with asyncio.timeout(front.config().server.sign_in_timeout.total_seconds()):
            line = await _read_line(terminal)
        identity = await exchange.accept(read_token(line), key.public_data)
        certificate, grant = await issue_certificate(front, identity, "browser", client, key)
    except TimeoutError:
        await terminal.write(write_answer(Refused(error="no token came in time", hint="Sign in again.")))
        return SignInError.exit_code
    except BastionError as error:
        if isinstance(error, SignInError):
            await record_refusal(front, client, error)
        await terminal.write(write_answer(Refused(error=error.message, hint=error.hint)))
        return error.exit_code
    await terminal.write(
        write_answer(Granted(certificate=certificate.strip(), expires_at=grant.valid_before, user=grant.user))
    )
    return 0


async def _read_line(terminal: ChannelTerminal) -> bytes:
    line = bytearray()
    while b"\n" not in line and len(line) <= LARGEST_MESSAGE:
        data = await terminal.read()
        if not data:
            break
        line += data
    return bytes(line)
