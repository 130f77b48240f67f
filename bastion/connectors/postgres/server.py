"""The bastion's own connection to a PostgreSQL server: TLS proves the server, the sign-in proves the account.

What the server says of a failed sign-in names the account, so people are told in other words, and the log has the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from scramp import ScramClient, ScramException  # type: ignore[import-untyped]

from bastion.config.targets import PostgresAccount, PostgresTarget
from bastion.connectors.postgres.messages import (
    CANCEL_REQUEST,
    LENGTH,
    PROTOCOL_3,
    SSL_REQUEST,
    Malformed,
    fields_of,
    message,
    parameters,
    request,
)
from bastion.connectors.postgres.startup import ALPN
from bastion.connectors.postgres.stream import CHUNK, Buffered, SocketStream
from bastion.errors import KeyFileError, TargetError
from bastion.runtime.files import read_private

log = structlog.get_logger()

MOST_ITERATIONS = 1_000_000
"""Of a password's hash that a server may ask for; PostgreSQL's default is 4096."""
_ITERATIONS = re.compile(rb",i=(\d{1,9})(?:,|$)")
_ASK_OPS = "Tell the people who run this bastion."


class SignInRefused(TargetError):
    """The server does not take the sign-in. *said* is in its own words, which name the account: not for people."""

    def __init__(self, text: str, *, hint: str, code: str, said: str) -> None:
        super().__init__(text, hint=hint)
        self.code = code
        self.said = said


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A connection that is signed in. *greeting* is what the server said since, up to ReadyForQuery.

    *cancel_key* is the server's own; nobody else learns it. *proof* says what it took for one, where it asked.
    """

    stream: SocketStream
    greeting: tuple[tuple[bytes, bytes], ...]
    cancel_key: bytes
    rest: bytes
    proof: str


@asynccontextmanager
async def signed_in(
    target: PostgresTarget, account: PostgresAccount, wanted: Mapping[str, str]
) -> AsyncIterator[Server]:
    """A connection to *target*, signed in as *account*, closed on leaving. Raises TargetError.

    *wanted* are parameters of the start-up, `database` among them; `user` is the account's role.
    """
    limit = target.connect_timeout.total_seconds()
    connection: SocketStream | None = None
    try:
        try:
            async with asyncio.timeout(limit):
                connection, tls = await _connect(target, account)
                server = await _sign_in(connection, tls, target, account, wanted)
        except TimeoutError:
            raise _unreachable(target, f"no answer within {limit:g} seconds") from None
        except ssl.SSLCertVerificationError as error:
            log.error("target.certificate-refused", target=target.name, reason=error.verify_message)
            raise TargetError(
                f"{target.name} cannot prove that it is the right server: {error.verify_message}",
                hint=_ASK_OPS,
            ) from error
        except (OSError, Malformed) as error:
            raise _unreachable(target, str(error)) from error
        yield server
    finally:
        if connection is not None:
            await connection.close()


async def send_cancel(target: PostgresTarget, account: PostgresAccount, key: bytes) -> None:
    """Ask *target* to cancel what runs in the connection with that *key*. Raises TargetError."""
    try:
        async with asyncio.timeout(target.connect_timeout.total_seconds()):
            connection, _ = await _connect(target, account)
            await connection.write(request(CANCEL_REQUEST, key))
            await connection.read()  # the server closes once it has done so
            await connection.close()
    except (TimeoutError, OSError) as error:
        raise _unreachable(target, str(error)) from error


async def _connect(
    target: PostgresTarget, account: PostgresAccount
) -> tuple[SocketStream, ssl.SSLObject | None]:
    loop = asyncio.get_running_loop()
    if target.tls == "off":
        reader, writer = await asyncio.open_connection(target.address, target.port)
        return SocketStream(reader, writer), None
    plain, answer = await loop.create_connection(lambda: _Answer(loop), target.address, target.port)
    try:
        plain.write(request(SSL_REQUEST))
        match await answer.said:
            case b"S":
                pass
            case b"N":
                raise TargetError(
                    f"{target.name} speaks no TLS, and its configuration asks for it", hint=_ASK_OPS
                )
            case _:
                raise Malformed("it says more than one byte before TLS, or is no PostgreSQL server")
        reader = asyncio.StreamReader(limit=CHUNK, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        context = await asyncio.to_thread(_context, target, account)
        name = target.tls_name or target.address
        inside = await loop.start_tls(plain, protocol, context, server_hostname=name)
    except BaseException:
        plain.close()
        raise
    if inside is None:
        raise ConnectionResetError("it closed the connection")
    protocol.connection_made(inside)
    tls: ssl.SSLObject = inside.get_extra_info("ssl_object")
    return SocketStream(reader, asyncio.StreamWriter(inside, protocol, reader, loop)), tls


class _Answer(asyncio.Protocol):
    """Takes the one byte that answers the question for TLS.

    What came in the clear must not be taken for what was said inside TLS (CVE-2021-23222): no reader outlives this one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.said: asyncio.Future[bytes] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        if not self.said.done():
            self.said.set_result(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.said.done():
            self.said.set_exception(ConnectionResetError("it closed the connection"))


def _context(target: PostgresTarget, account: PostgresAccount) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(target.tls_ca) if target.tls_ca else None)
        context.check_hostname = target.tls == "verify-full"
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([ALPN])
        if account.certificate_file is not None and account.key_file is not None:
            read_private(account.key_file)
            context.load_cert_chain(account.certificate_file, account.key_file)
    except (OSError, KeyFileError) as error:
        log.error("target.key-unusable", target=target.name, login=account.login, reason=str(error))
        raise TargetError(
            f"the bastion cannot use its certificates for {target.name}", hint=_ASK_OPS
        ) from error
    return context


async def _sign_in(
    connection: SocketStream,
    tls: ssl.SSLObject | None,
    target: PostgresTarget,
    account: PostgresAccount,
    wanted: Mapping[str, str],
) -> Server:
    values = {**wanted, "user": account.role or account.login}
    await connection.write(request(PROTOCOL_3, parameters(values)))
    server, greeting, cancel_key = Buffered(connection), [], b""
    proof = _Proof(target, account, tls)
    while True:
        kind, body = await server.message()
        match kind:
            case b"R":
                if answer := await proof.answer(body):
                    await connection.write(answer)
            case b"E":
                raise _refused(target, account, fields_of(body))
            case b"K":
                cancel_key = body
            case b"v":
                raise Malformed("it speaks no protocol 3.0")
            case _:
                greeting.append((kind, body))
                if kind == b"Z":
                    break
    if not proof.is_given:
        raise TargetError(f"{target.name} did not say that the sign-in is complete", hint=_ASK_OPS)
    return Server(
        stream=connection,
        greeting=tuple(greeting),
        cancel_key=cancel_key,
        rest=server.rest,
        proof=proof.asked,
    )


class _Proof:
    """Answers what a server asks to know who we are."""

    def __init__(self, target: PostgresTarget, account: PostgresAccount, tls: ssl.SSLObject | None) -> None:
        self._target = target
        self._account = account
        self._tls = tls
        self._scram: ScramClient | None = None
        self._owes_signature = False
        self._is_accepted = False
        self.asked = ""

    @property
    def is_given(self) -> bool:
        """Whether the server took it, and proved in turn that it knows the password, where it could."""
        return self._is_accepted and not self._owes_signature

    async def answer(self, body: bytes) -> bytes:
        """The answer to an authentication message, b"" where none is due. Raises TargetError and Malformed."""
        if len(body) < LENGTH.size:
            raise Malformed("a question for proof that asks for nothing")
        (code,) = LENGTH.unpack_from(body)
        data = body[4:]
        try:
            match code:
                case 0:
                    self._is_accepted = True
                    return b""
                case 3 if self._tls is not None and self._target.tls == "verify-full":
                    self.asked = "a password in the clear, inside TLS"
                    return message(b"p", self._password().encode() + b"\0")
                case 5 if self._target.allow_md5:
                    self.asked = "a password hashed with MD5"
                    return message(b"p", self._md5(data))
                case 10:
                    return message(b"p", self._scram_first(data))
                case 11 if self._scram is not None:
                    return message(b"p", await asyncio.to_thread(self._scram_final, self._scram, data))
                case 12 if self._scram is not None:
                    self._scram.set_server_final(data.decode())
                    self._owes_signature = False
                    return b""
        except (ScramException, UnicodeDecodeError) as error:
            log.error("target.sign-in-failed", target=self._target.name, reason=str(error))
            raise TargetError(
                f"{self._target.name} cannot prove that it knows the account", hint=_ASK_OPS
            ) from error
        words = {3: "a password in the clear", 5: "a password hashed with MD5 (allow_md5)"}
        log.error(
            "target.sign-in-failed", target=self._target.name, reason=f"it asks for {words.get(code, code)}"
        )
        raise TargetError(
            f"{self._target.name} asks for a kind of proof that is not given to it", hint=_ASK_OPS
        )

    def _scram_first(self, data: bytes) -> bytes:
        offered = [name.decode("ascii", "replace") for name in data.split(b"\0") if name]
        known = [name for name in offered if name in ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")]
        if not known:
            raise ScramException(f"none of its mechanisms is known: {', '.join(offered)}")
        binding = ("tls-server-end-point", self._tls) if self._tls is not None else None
        self._scram = ScramClient(known, self._account.role or self._account.login, self._password(), binding)
        self._owes_signature = True
        self.asked = str(self._scram.mechanism_name)
        first = str(self._scram.get_client_first()).encode()
        return self.asked.encode() + b"\0" + LENGTH.pack(len(first)) + first

    @staticmethod
    def _scram_final(scram: ScramClient, data: bytes) -> bytes:
        rounds = _ITERATIONS.search(data)
        if rounds is None or not 1 <= int(rounds[1]) <= MOST_ITERATIONS:
            raise ScramException("it asks for more work than makes sense")
        scram.set_server_first(data.decode())
        return str(scram.get_client_final()).encode()

    def _md5(self, salt: bytes) -> bytes:
        role = self._account.role or self._account.login
        inner = hashlib.md5((self._password() + role).encode(), usedforsecurity=False).hexdigest()
        return b"md5" + hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest().encode() + b"\0"

    def _password(self) -> str:
        if self._account.password_file is None:
            log.error("target.no-password", target=self._target.name, login=self._account.login)
            raise TargetError(f"the bastion has no password for {self._target.name}", hint=_ASK_OPS)
        try:
            return read_private(self._account.password_file).decode().rstrip("\r\n")
        except (KeyFileError, UnicodeDecodeError) as error:
            log.error("target.key-unusable", target=self._target.name, reason=str(error))
            raise TargetError(
                f"the bastion cannot use its password for {self._target.name}", hint=_ASK_OPS
            ) from error


def _refused(target: PostgresTarget, account: PostgresAccount, fields: Mapping[str, str]) -> SignInRefused:
    """A failed sign-in, in words that name no account; what the server said is in the log."""
    code = fields.get("C", "")
    log.error(
        "target.sign-in-failed",
        target=target.name,
        login=account.login,
        code=code,
        reason=fields.get("M", ""),
    )
    words = {
        "28": "it does not let the bastion sign in",
        "3D": "there is no such database",
        "53": "it takes no more connections",
        "57": "it is starting up or shutting down",
        "42": "the account may not use this database",
    }
    reason = words.get(code[:2], "it refused the connection")
    return SignInRefused(
        f"{target.name}: {reason} ({code})",
        hint=f"People who run the bastion see why with: bastion target check {target.name} --login {account.login}",
        code=code,
        said=fields.get("M", ""),
    )


def _unreachable(target: PostgresTarget, reason: str) -> TargetError:
    return TargetError(
        f"{target.name} cannot be reached: {reason}",
        hint=f"The bastion tried {target.address} port {target.port}.",
    )
