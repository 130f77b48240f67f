"""TLS within the SSH connection, for clients that insist on it: whom it proves, and how such a connection ends."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from bastion.connectors.postgres.messages import (
    CANCEL_REQUEST,
    LENGTH,
    PROTOCOL_3,
    SSL_REQUEST,
    fields_of,
    message,
    parameters,
    request,
)
from tests.postgres.conftest import Orders
from tests.rig.process import wait_until
from tests.server.recorded import rows


@contextmanager
def inside_tls(orders: Orders, *, at_once: bool = False) -> Iterator[ssl.SSLSocket]:
    """A client of its own making, whose TLS is agreed on."""
    context = ssl.create_default_context(cafile=str(orders.authority))
    context.set_alpn_protocols(["postgresql"])
    with socket.create_connection(("127.0.0.1", orders.port), timeout=10) as plain:
        if not at_once:
            plain.sendall(request(SSL_REQUEST))
            assert plain.recv(1) == b"S"
        with context.wrap_socket(plain, server_hostname="orders-db", suppress_ragged_eofs=False) as inside:
            yield inside


def heard(client: ssl.SSLSocket) -> bytes:
    """All that the client hears until the bastion says goodbye; raises SSLEOFError if it goes without."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("host", ["orders-db", "orders-db.localhost", "localhost", "127.0.0.1"])
def test_bastion_proves_to_be_the_target_by_its_names_and_by_where_ssh_listens(
    orders: Orders, host: str
) -> None:
    place = f"host={host} hostaddr=127.0.0.1 port={orders.port}"
    wanted = f"{place} sslmode=verify-full sslrootcert={orders.authority}"
    found = orders.psql("-At", "-U", "reader", "-d", wanted, "-c", "SELECT 1")
    assert (found.stdout, found.stderr) == ("1\n", "")


def test_another_name_is_not_proved(orders: Orders) -> None:
    place = f"host=other hostaddr=127.0.0.1 port={orders.port}"
    wrong = orders.psql("-d", f"{place} sslmode=verify-full sslrootcert={orders.authority}")
    assert "does not match host name" in wrong.stderr


def test_tls_may_begin_at_once(orders: Orders) -> None:
    """As libpq 17 does with sslnegotiation=direct: no question before it, and ALPN says what for."""
    with inside_tls(orders, at_once=True) as client:
        assert client.selected_alpn_protocol() == "postgresql"
        client.sendall(request(PROTOCOL_3, parameters({"user": "reader", "database": "orders"})))
        assert client.recv(1) == b"R"


def test_who_goes_without_the_goodbye_of_tls_takes_nobody_along(orders: Orders) -> None:
    """Clients that crash do, and some that end; the others of the same ssh stay."""
    with psycopg.connect(host="127.0.0.1", port=orders.port, user="reader", dbname="orders") as other:
        with inside_tls(orders) as client:
            client.sendall(request(PROTOCOL_3, parameters({"user": "writer", "database": "orders"})))
            assert client.recv(1) == b"R"
            long = b"SELECT 1 --" + b"x" * 1_000_000 + b"\0"
            client.sendall(message(b"Q", long))  # so much that the end is there before all of it is read
            client.shutdown(socket.SHUT_WR)  # of the socket: TLS hears nothing of it
        wait_until(lambda: rows(orders.world)[0]["ending"] != "live", "the session ended")
        session = rows(orders.world)[0]
        assert (session["login"], session["ending"]) == ("writer", "client disconnected")
        assert other.execute("SELECT 'still here'").fetchone() == ("still here",)


def test_what_is_no_tls_ends_one_connection_alone(orders: Orders) -> None:
    with inside_tls(orders) as client:
        client.sendall(request(PROTOCOL_3, parameters({"user": "writer", "database": "orders"})))
        assert client.recv(1) == b"R"
        with socket.socket(fileno=client.detach()) as plain:
            plain.sendall(b"this is no record of TLS")
            wait_until(lambda: rows(orders.world)[0]["ending"] != "live", "the session ended")
    assert orders.psql("-At", "-c", "SELECT 1").stdout == "1\n"


def test_refusal_within_tls_can_be_read(orders: Orders) -> None:
    with inside_tls(orders) as client:
        client.sendall(request(PROTOCOL_3, parameters({"user": "reader", "replication": "true"})))
        said = heard(client)
    assert said[:1] == b"E"
    assert fields_of(said[5:])["M"] == "the bastion passes no replication on"


def test_bastion_says_goodbye_to_who_asked_to_cancel(orders: Orders) -> None:
    """libpq 17 waits for it, and else complains that cancelling failed."""
    with inside_tls(orders) as client:
        client.sendall(request(CANCEL_REQUEST, LENGTH.pack(1) + LENGTH.pack(2)))
        assert heard(client) == b""


def test_cancel_goes_the_same_way(orders: Orders) -> None:
    with psycopg.connect(
        host="127.0.0.1", port=orders.port, user="reader", dbname="orders", sslmode="require", autocommit=True
    ) as connection:
        connection.add_notice_handler(lambda _: threading.Thread(target=connection.cancel_safe).start())
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("DO $$ BEGIN RAISE NOTICE 'begun'; PERFORM pg_sleep(60); END $$")
