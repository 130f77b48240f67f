"""Log lines: nothing forged, no secret, libraries included."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bastion.runtime.logs import configure_logs, masked, names_secret, printable
from bastion.runtime.secrets import Secret

Format = Literal["console", "json"]
FORMATS: tuple[Format, ...] = ("console", "json")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def logged(format: Format, level: str = "info") -> io.StringIO:  # noqa: A002
    stream = io.StringIO()
    configure_logs(format, level, stream)
    return stream


def one(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_json_line_holds_facts_level_logger_and_time() -> None:
    stream = logged("json")
    structlog.get_logger("bastion.ssh").info("session.started", user="alice", columns=80)
    line = one(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "session.started",
        "level": "info",
        "logger": "bastion.ssh",
        "user": "alice",
        "columns": 80,
    }


def test_ids_bound_to_the_context_are_on_every_line_within() -> None:
    stream = logged("json")
    with structlog.contextvars.bound_contextvars(connection="c1", session="270115-k7f3m9q"):
        structlog.get_logger("bastion").info("relay.started")
    structlog.get_logger("bastion").info("server.idle")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["connection"], first["session"]) == ("c1", "270115-k7f3m9q")
    assert "session" not in second


@pytest.mark.parametrize("format", FORMATS)
def test_no_value_can_steer_a_terminal_or_forge_a_line(format: Format) -> None:  # noqa: A002
    stream = logged(format)
    evil = "x\n2027-01-15 [info] sign-in.accepted user=root \x1b[2J\x1b]0;pwned\x07 \x9b31m \u202e\u2028\r"
    structlog.get_logger("bastion").info(evil, user=evil, deep={"k": [evil]}, raw=evil.encode(), **{evil: 1})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert r"\x1b[2J" in text


@pytest.mark.parametrize("format", FORMATS)
def test_a_traceback_is_logged_whole_and_no_line_of_it_begins_like_a_log_line(format: Format) -> None:  # noqa: A002
    stream = logged(format)
    try:
        raise ValueError("first\n2027-01-15 [info] sign-in.accepted\x1b[2J")
    except ValueError as error:
        structlog.get_logger("bastion").error("task.failed", exc_info=error)
    text = stream.getvalue()
    assert "Traceback" in text
    assert "\x1b" not in text
    first, *others = text.splitlines()
    assert "task.failed" in first
    assert all(line.startswith("    ") for line in others)


@pytest.mark.parametrize("format", FORMATS)
def test_no_secret_gets_into_a_log_by_name_by_type_or_from_deep_within(format: Format) -> None:  # noqa: A002
    stream = logged(format)
    structlog.get_logger("bastion").warning(
        "test",
        id_token="hunter2",
        client_secret="hunter2",
        Password="hunter2",
        wrapped=Secret("hunter2"),
        answer={"access_token": "hunter2", "list": [Secret("hunter2"), {"refresh-token": "hunter2"}]},
    )
    text = stream.getvalue()
    assert "hunter2" not in text
    assert text.count("***") >= 7


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("token", True), ("id_token", True), ("accessToken", False), ("client-secret", True), ("PASSWORD", True),
        ("code_verifier", True), ("private_key", True), ("token_digest", False), ("client_secret_file", False),
        ("tokens", False), ("user", False), ("key_fingerprint", False), ("", False),
    ],
)  # fmt: skip
def test_names_that_mean_a_secret(name: str, secret: bool) -> None:
    assert names_secret(name) == secret


def test_masking_leaves_everything_else_as_it_was() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": ("y",), "c": {"d": "z"}}
    assert masked(value) == {"a": [1, 2.5, None, True, "x"], "b": ["y"], "c": {"d": "z"}}


def test_our_packages_log_from_their_level_up_and_libraries_from_warning_up() -> None:
    stream = logged("json", level="debug")
    structlog.get_logger("bastion.ssh").debug("ours")
    logging.getLogger("asyncssh").info("not worth a line")
    logging.getLogger("asyncssh").warning("of a %s\x1b", "library")
    logging.getLogger("httpx2").debug("nor this")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["level"], line["logger"]) for line in lines] == [
        ("ours", "debug", "bastion.ssh"),
        (r"of a library\x1b", "warning", "asyncssh"),
    ]


def test_lines_below_the_level_are_left_out() -> None:
    stream = logged("json", level="warning")
    structlog.get_logger("bastion.ssh").info("left out")
    structlog.get_logger("bastion.ssh").warning("there")
    assert one(stream)["event"] == "there"


@given(text=st.text())
def test_printable_text_is_printable_and_says_what_was_there(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()
