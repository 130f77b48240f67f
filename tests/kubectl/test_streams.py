"""Messages of exec and attach, and what a request for them asks for."""

from __future__ import annotations

import pytest

from bastion.connectors.kubernetes.channels import V4, V5
from bastion.kubectl.http import Head
from bastion.kubectl.resource import understand
from bastion.kubectl.stream import events_of
from bastion.kubectl.upgrade import Streams, streams_of
from bastion.kubectl.websocket import handshake_problem, offered
from recorder.events import Event, Input, InputEnded, Resized

POD = "/api/v1/namespaces/shop/pods/api-1"


def head(**headers: str) -> Head:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Head(method="GET", target=POD, headers=pairs)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"", []),
        (b"\x00ls\r", [Input(b"ls\r")]),
        (b"\x00", []),
        (b'\x04{"Width":120,"Height":40}', [Resized(120, 40)]),
        (b"\xff\x00", [InputEnded()]),
        (b"\xff\x04", []),
    ],
)
def test_each_message_is_an_event(message: bytes, said: list[Event]) -> None:
    assert events_of(message, has_ends=True) == said


@pytest.mark.parametrize(
    "message",
    [
        b"\x01out", b"\x03{}", b"\x05", b"ls", b"\xff", b"\xff\x00\x00", b"\x04", b"\x04{}", b"\x04[]", b"\x04\xff",
        b'\x04{"Width":-1,"Height":4}', b'\x04{"Width":70000,"Height":4}', b'\x04{"Width":1.5,"Height":4}',
        b"\x04" + b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_message_that_says_nothing_we_know_is_an_error(message: bytes) -> None:
    with pytest.raises(ValueError):
        events_of(message, has_ends=True)


def test_only_v5_has_an_end_of_input() -> None:
    with pytest.raises(ValueError):
        events_of(b"\xff\x00", has_ends=False)


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (f"{V5}, {V4}", V5),
        (V4, V4),
        (f"v3.channel.k8s.io,{V4}", V4),
        ("base64.channel.k8s.io", None),
        ("", None),
    ],
)
def test_the_newest_protocol_that_both_know_is_chosen(words: str, chosen: str | None) -> None:
    assert offered(head(sec_websocket_protocol=words), (V5, V4)) == chosen


def test_a_handshake_must_be_one() -> None:
    good = {
        "connection": "keep-alive, Upgrade",
        "sec_websocket_version": "13",
        "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert handshake_problem(head(**good)) is None
    for name, value in [("connection", "close"), ("sec_websocket_version", "8"), ("sec_websocket_key", "x")]:
        assert handshake_problem(head(**{**good, name: value})) is not None


def test_an_exec_in_a_terminal_is_a_shell_session_and_any_other_is_a_command() -> None:
    query = (
        "container=app&command=sh&command=-c&command=echo+%24HOME&stdin=true&stdout=true&stderr=true&tty=true"
    )
    streams = streams_of(understand("GET", f"{POD}/exec?{query}"))
    assert streams == Streams(
        namespace="shop", pod="api-1", container="app", command=("sh", "-c", "echo $HOME"),
        stdin=True, tty=True,
    )  # fmt: skip
    assert streams.path == "shop/api-1:app"
    assert (streams.session.kind, streams.session.command) == ("shell", "sh -c 'echo $HOME'")
    assert streams.session.pty is not None
    plain = streams_of(understand("GET", f"{POD}/exec?command=ls&stdout=1&stderr=1&stdin=false"))
    assert (plain.path, plain.session.kind, plain.session.pty) == ("shop/api-1", "exec", None)
    assert (plain.session.program, plain.session.takes_input) == (("ls",), False)


def test_an_attach_has_no_command() -> None:
    assert streams_of(understand("GET", f"{POD}/attach?command=rm&stdout=1")).command == ()
