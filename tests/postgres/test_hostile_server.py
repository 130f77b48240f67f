"""A server that is not what it says: it learns nothing, and nobody takes its word. The double says what is scripted."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bastion.config.targets import PostgresTarget
from bastion.connectors.postgres.messages import LENGTH, message
from bastion.connectors.postgres.server import MOST_ITERATIONS, signed_in
from bastion.errors import TargetError
from tests.kubernetes.pki import Pki

PASSWORD = "s3cret"
OK, READY = message(b"R", LENGTH.pack(0)), message(b"Z", b"I")
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Double:
    """Runs *script* for each connection; *heard* is all that came, but for what TLS hides."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(script: Script, folder: Path, **settings: object) -> AsyncIterator[PostgresTarget]:
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)
    server = await asyncio.start_server(Double(script), "127.0.0.1", 0)
    base = {
        "kind": "postgres", "name": "db", "address": "127.0.0.1", "port": server.sockets[0].getsockname()[1],
        "databases": ["orders"], "accounts": [{"login": "reader", "password_file": password}], "tls": "off",
        "connect_timeout": "3s",
    }  # fmt: skip
    try:
        yield PostgresTarget.model_validate(base | settings)
    finally:
        server.close()


async def refusal(target: PostgresTarget) -> str:
    """Why signing in to *target* failed."""
    with pytest.raises(TargetError) as refused:
        async with signed_in(target, target.accounts[0], {"database": "orders"}):
            pass
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


async def startup(reader: asyncio.StreamReader) -> None:
    (length,) = LENGTH.unpack(await reader.readexactly(4))
    await reader.readexactly(length - 4)


async def heard(reader: asyncio.StreamReader) -> bytes:
    (length,) = LENGTH.unpack((await reader.readexactly(5))[1:])
    return await reader.readexactly(length - 4)


def asks(*answers: bytes | Callable[[bytes], bytes]) -> Script:
    """A script that says *answers* one after another, each to what it heard before."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        said = b""
        for answer in answers:
            writer.write(answer if isinstance(answer, bytes) else answer(said))
            await writer.drain()
            said = await heard(reader)

    return script


SASL = message(b"R", LENGTH.pack(10) + b"SCRAM-SHA-256\0\0")


def continues(iterations: int = 4096, nonce: str | None = None) -> Callable[[bytes], bytes]:
    def answer(said: bytes) -> bytes:
        theirs = said.partition(b"r=")[2].decode()
        salt = base64.b64encode(b"saltsaltsaltsalt").decode()
        text = f"r={theirs + 'ours' if nonce is None else nonce},s={salt},i={iterations}"
        return message(b"R", LENGTH.pack(11) + text.encode())

    return answer


def final(said: bytes) -> bytes:
    return message(b"R", LENGTH.pack(12) + b"v=" + base64.b64encode(b"x" * 32)) + OK + READY


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ((SASL, continues(), final), "cannot prove that it knows the account"),
        ((SASL, continues(), OK + READY), "did not say that the sign-in is complete"),
        ((SASL, OK + READY), "did not say that the sign-in is complete"),
        ((READY,), "did not say that the sign-in is complete"),
        ((SASL, continues(MOST_ITERATIONS + 1)), "cannot prove that it knows the account"),
        ((SASL, continues(0)), "cannot prove that it knows the account"),
        ((SASL, continues(nonce="another")), "cannot prove that it knows the account"),
        ((message(b"R", LENGTH.pack(10) + b"SCRAM-MD4\0\0"),), "cannot prove that it knows the account"),
        ((message(b"R", LENGTH.pack(3)),), "a kind of proof that is not given to it"),
        ((message(b"R", LENGTH.pack(5) + b"salt"),), "a kind of proof that is not given to it"),
        ((message(b"R", LENGTH.pack(7)),), "a kind of proof that is not given to it"),
        ((b"R" + LENGTH.pack(0x7FFFFFFF),), "cannot be reached: a message of"),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), "cannot be reached"),
        ((message(b"R", b""),), "cannot be reached"),
    ],
)
async def test_server_that_does_not_keep_to_the_ways_is_not_believed(
    tmp_path: Path, answers: tuple[bytes | Callable[[bytes], bytes], ...], words: str
) -> None:
    async with serving(asks(*answers), tmp_path) as target:
        assert words in await refusal(target)


async def test_server_without_tls_gets_no_startup(tmp_path: Path) -> None:
    told = bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.write(b"N")
        told.extend(await reader.read())

    async with serving(script, tmp_path, tls="verify-full") as target:
        assert "speaks no TLS" in await refusal(target)
    assert not told


@pytest.mark.parametrize("parts", [[b"S" + OK + READY], [b"S", OK + READY]])
async def test_what_comes_before_tls_is_not_taken_for_what_is_said_inside(
    tmp_path: Path, parts: list[bytes]
) -> None:
    """Somebody on the way who cannot speak for the server slips words in before TLS begins."""
    pki = Pki(tmp_path / "pki")
    (tmp_path / "ca.crt").write_text(pki.ca)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pki.server())

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        for part in parts:
            writer.write(part)
            await writer.drain()
        await writer.start_tls(context)
        await startup(reader)
        await reader.read()

    async with serving(
        script, tmp_path, tls="verify-full", tls_ca=tmp_path / "ca.crt", tls_name="localhost"
    ) as target:
        assert "cannot be reached" in await refusal(target)
