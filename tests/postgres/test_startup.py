"""What clients say before their first statement, well-meant or not. No server is needed."""

from __future__ import annotations

import pytest

from bastion.connectors.postgres.messages import (
    CANCEL_REQUEST,
    GSSENC_REQUEST,
    LENGTH,
    PROTOCOL_3,
    SSL_REQUEST,
    Malformed,
    fields_of,
    parameters,
    request,
)
from bastion.connectors.postgres.startup import CancelRequest, Refused, Startup, meet
from bastion.connectors.postgres.stream import Stream

ALICE = {"user": "alice", "database": "orders"}


class Said:
    """A client that says *parts*, each once it is read, and keeps what it hears."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = list(parts)
        self.heard = b""

    async def read(self) -> bytes:
        return self._parts.pop(0) if self._parts else b""

    async def write(self, data: bytes) -> None:
        self.heard += data

    async def close(self) -> None: ...


async def never(begun: bytes) -> Stream:
    raise AssertionError("TLS was not asked for")


async def test_questions_about_encryption_come_before_the_startup() -> None:
    inside = Said(request(PROTOCOL_3, parameters(ALICE)))

    async def encrypt(begun: bytes) -> Stream:
        assert begun == b""
        return inside

    said = Said(request(GSSENC_REQUEST), request(SSL_REQUEST))
    buffered, startup = await meet(said, encrypt)
    assert said.heard == b"NS"
    assert buffered.stream is inside
    assert startup == Startup(parameters=ALICE)


async def test_where_tls_is_not_offered_the_client_is_told_so() -> None:
    said = Said(request(SSL_REQUEST), request(PROTOCOL_3, parameters(ALICE)))
    _, startup = await meet(said, None)
    assert said.heard == b"N"
    assert startup == Startup(parameters=ALICE)


async def test_tls_at_once_keeps_what_was_read_of_it() -> None:
    async def encrypt(begun: bytes) -> Stream:
        assert begun == b"\x16\x03\x01hello"
        return Said(request(PROTOCOL_3, parameters(ALICE)))

    _, startup = await meet(Said(b"\x16\x03\x01hello"), encrypt)
    assert startup == Startup(parameters=ALICE)


async def test_it_does_not_matter_how_the_bytes_come() -> None:
    whole = request(GSSENC_REQUEST) + request(PROTOCOL_3, parameters(ALICE)) + b"Q rest"
    buffered, startup = await meet(Said(*(bytes([byte]) for byte in whole[:-6]), whole[-6:]), never)
    assert startup == Startup(parameters=ALICE)
    rest = buffered.rest + await buffered.stream.read()
    assert rest == b"Q rest"


async def test_newer_protocol_and_its_extensions_are_negotiated_down() -> None:
    wanted = {**ALICE, "_pq_.something": "on"}
    _, startup = await meet(Said(request(PROTOCOL_3 + 2, parameters(wanted))), never)
    assert isinstance(startup, Startup)
    assert startup.parameters == ALICE
    assert startup.answer == (
        b"v" + LENGTH.pack(4 + 4 + 4 + 15) + LENGTH.pack(PROTOCOL_3) + LENGTH.pack(1) + b"_pq_.something\0"
    )


async def test_cancel_request_has_its_key() -> None:
    _, wanted = await meet(Said(request(CANCEL_REQUEST, b"12345678")), never)
    assert wanted == CancelRequest(b"12345678")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (request(PROTOCOL_3, parameters({**ALICE, "replication": "database"})), "28000"),
        (request(PROTOCOL_3, parameters({**ALICE, "replication": "1"})), "28000"),
        (request(PROTOCOL_3, parameters({"database": "orders"})), "28000"),
        (request(2 << 16, b"alice"), "08P01"),
        (request(4 << 16, parameters(ALICE)), "08P01"),
    ],
)
async def test_what_is_not_offered_is_refused_in_the_words_of_the_protocol(said: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        await meet(Said(said), never)
    assert refused.value.message[:1] == b"E"
    told = fields_of(refused.value.message[5:])
    assert (told["S"], told["V"], told["C"]) == ("FATAL", "FATAL", code)


@pytest.mark.parametrize(
    "said",
    [
        request(SSL_REQUEST) + request(PROTOCOL_3, parameters(ALICE)),
        LENGTH.pack(10_001) + b"x" * 20_000,
        LENGTH.pack(3) + b"xxxx",
        LENGTH.pack(4),
        LENGTH.pack(6) + b"xx",
        LENGTH.pack(0x7FFFFFFF) + b"GET / HTTP/1.1",
        request(GSSENC_REQUEST) * 9,
        request(PROTOCOL_3, b"user"),
        request(PROTOCOL_3, b"user\0alice"),
    ],
)
async def test_what_is_no_startup_ends_the_connection(said: bytes) -> None:
    with pytest.raises(Malformed):
        await meet(Said(said), never)


async def test_tls_inside_tls_is_refused() -> None:
    async def encrypt(begun: bytes) -> Stream:
        return Said(request(SSL_REQUEST))

    with pytest.raises((Malformed, Refused)):
        await meet(Said(request(SSL_REQUEST)), encrypt)


async def test_client_that_leaves_is_no_startup() -> None:
    with pytest.raises(ConnectionError):
        await meet(Said(request(PROTOCOL_3, parameters(ALICE))[:-1]), never)
