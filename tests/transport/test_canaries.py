"""Fail first when asyncssh changes what `bastion.transport.hooks` leans on. One test a private name or behaviour."""

import inspect

import asyncssh
import pytest
from asyncssh import channel, connection, listener, public_key

from bastion.transport import hooks


def test_asyncssh_is_the_version_the_hooks_were_written_for() -> None:
    assert asyncssh.__version__ == "2.24.1"


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (connection.SSHConnection, "_send", ["self", "data"]),
        (connection.SSHConnection, "send_packet", ["self", "pkttype", "args", "handler"]),
        (connection.SSHConnection, "_force_close", ["self", "exc"]),
        (connection.SSHConnection, "_get_extra_kex_algs", ["self"]),
        (connection.SSHConnection, "_update_recv_pktlen", ["self", "max_pktsize"]),
        (connection.SSHConnection, "add_channel", ["self", "chan"]),
        (connection.SSHConnection, "data_received", ["self", "data", "datatype"]),
        (connection.SSHConnection, "send_userauth_failure", ["self", "partial_success"]),
        (connection.SSHConnection, "send_userauth_success", ["self"]),
        (connection.SSHServerConnection, "_validate_openssh_certificate", ["self", "username", "cert"]),
        (connection.SSHServerConnection, "_validate_client_public_key", ["self", "username", "key_data"]),
        (
            connection.SSHServerConnection,
            "validate_public_key",
            ["self", "username", "key_data", "msg", "signature"],
        ),
        (connection.SSHServerConnection, "check_certificate_permission", ["self", "permission"]),
        (connection.SSHConnection, "_send_deferred_packets", ["self"]),
        (channel.SSHChannel, "_accept_data", ["self", "data", "datatype"]),
        (channel.SSHChannel, "_deliver_data", ["self", "data", "datatype"]),
        (channel.SSHServerChannel, "_process_env_request", ["self", "packet"]),
        (channel.SSHServerChannel, "_process_x11_req_request", ["self", "packet"]),
        (
            channel.SSHServerChannel,
            "_process_auth_agent_req_at_openssh_dot_com_request",
            ["self", "packet"],
        ),
        (connection.SSHClientConnection, "_process_x11_open", ["self", "packet"]),
        (
            connection.SSHClientConnection,
            "_process_auth_agent_at_openssh_dot_com_open",
            ["self", "packet"],
        ),
        (
            connection.SSHClientConnection,
            "attach_x11_listener",
            ["self", "chan", "display", "auth_path", "single_connection"],
        ),
        (channel.SSHChannel, "_flush_send_buf", ["self"]),
        (channel.SSHChannel, "_pause_resume_writing", ["self"]),
    ],
)
def test_overridden_method_still_has_its_shape(owner: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (channel.SSHServerChannel.__init__, 12),
        (channel.SSHClientChannel.__init__, 8),
        (channel.SSHTCPChannel.__init__, 7),
        (channel.SSHUNIXChannel.__init__, 7),
        (channel.SSHX11Channel.__init__, 7),
        (channel.SSHAgentChannel.__init__, 7),
    ],
)
def test_channels_are_made_with_the_arguments_we_pass(make: object, count: int) -> None:
    assert callable(make)
    assert len(inspect.signature(make).parameters) == count


def test_client_channel_creates_a_session_with_the_arguments_we_pass() -> None:
    assert list(inspect.signature(channel.SSHClientChannel.create).parameters)[1:] == [
        "session_factory",
        "command",
        "subsystem",
        "env",
        "request_pty",
        "term_type",
        "term_size",
        "term_modes",
        "x11_forwarding",
        "x11_display",
        "x11_auth_path",
        "x11_single_connection",
        "agent_forwarding",
    ]


def test_certificate_has_the_private_fields_we_read() -> None:
    authority, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    certificate = authority.generate_user_certificate(
        key, "u:alice", serial=7, principals=["alice"], valid_after=1000, valid_before=2000
    )
    assert isinstance(certificate, public_key.SSHOpenSSHCertificate)
    assert (certificate._serial, certificate._key_id) == (7, "u:alice")
    assert (certificate._valid_after, certificate._valid_before) == (1000, 2000)
    assert certificate._cert_type == public_key.CERT_TYPE_USER
    assert certificate.principals == ["alice"]
    assert certificate.signing_key.public_data == authority.public_data


def test_key_exchange_has_the_private_fields_we_read_and_set() -> None:
    source = inspect.getsource(connection.SSHConnection)
    for name in (
        "_client_version",
        "_client_kexinit",
        "_enc_algs",
        "_enc_alg_cs",
        "_enc_alg_sc",
        "_rekey_bytes",
    ):
        assert f"self.{name} = " in source
    assert "self._rekey_bytes_sent >= self._rekey_bytes" in source
    assert "enc_algs = NameList(self._enc_algs)" in source


def test_asyncssh_still_takes_empty_principals_for_everybody() -> None:
    """If it no longer does, our own check in the hook may go."""
    authority, key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    authority.generate_user_certificate(key, "x").validate(public_key.CERT_TYPE_USER, "anybody")


def test_begin_of_a_key_exchange_is_kept_where_we_look_for_it() -> None:
    source = inspect.getsource(connection.SSHConnection)
    assert "self._client_kexinit = b''" in source
    assert "self._client_kexinit = packet.get_consumed_payload()" in source


def test_packet_handlers_we_rely_on_are_looked_up_by_method_name() -> None:
    assert connection.SSHServerConnection._process_session_open is not None
    assert "_process_session_open" not in str(connection.SSHConnection._packet_handlers)


@pytest.mark.parametrize("owner", [connection.SSHClientConnection, connection.SSHServerConnection])
def test_channels_that_connections_pass_through_are_made_by_the_methods_we_replace(owner: type) -> None:
    for name, maker in (("create_connection", "tcp"), ("create_unix_connection", "unix")):
        assert f"self.create_{maker}_channel(" in inspect.getsource(getattr(owner, name))
    assert "self._conn.create_tcp_channel(" in inspect.getsource(listener.SSHTCPClientListener)
    assert "self._conn.create_unix_channel(" in inspect.getsource(listener.SSHUNIXClientListener)


def test_weak_rsa_keys_are_told_from_strong_ones() -> None:
    weak = asyncssh.generate_private_key("ssh-rsa", key_size=1024)
    strong = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    assert hooks.is_weak(weak)
    assert not hooks.is_weak(strong)
    assert not hooks.is_weak(asyncssh.generate_private_key("ssh-ed25519"))


@pytest.mark.parametrize("name", ["connection_made", "data_received", "eof_received", "session_started"])
def test_connection_does_as_the_session_of_a_channel(name: str) -> None:
    """A nested connection is the session of a direct-tcpip channel by what it can do, not by its type."""
    ours = list(inspect.signature(getattr(hooks.ServerConnection, name)).parameters)
    theirs = list(inspect.signature(getattr(asyncssh.SSHTCPSession, name)).parameters)
    assert len(ours) == len(theirs)
