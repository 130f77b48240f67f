"""Where a channel goes, from the user name and the command alone."""

import pytest

from bastion.ssh.route import Route, ToBuiltin, ToPicker, ToTarget, route, split_name
from bastion.transport.request import Pty, SessionRequest

PTY = Pty(terminal="xterm", columns=80, rows=24)
SHELL = SessionRequest(kind="shell", pty=PTY)


def go(username: str, request: SessionRequest) -> Route:
    return route(username, request, lambda name: name in {"web-1", "orders"})


def command(text: str) -> SessionRequest:
    return SessionRequest(kind="exec", command=text)


@pytest.mark.parametrize(
    ("username", "login"), [("web-1", None), ("deploy@web-1", "deploy"), ("a@b@web-1", "a@b")]
)
def test_user_name_chooses_target_and_login(username: str, login: str | None) -> None:
    assert go(username, SHELL) == ToTarget("web-1", login, SHELL)


def test_command_goes_to_the_target_of_the_user_name_even_if_its_first_word_is_one_of_ours() -> None:
    assert go("web-1", command("sessions --all")) == ToTarget("web-1", None, command("sessions --all"))


@pytest.mark.parametrize("username", ["alice", "root", "", "@", "nobody"])
def test_user_name_that_is_no_target_opens_the_picker(username: str) -> None:
    assert isinstance(go(username, SHELL), ToPicker)


def test_explicit_target_that_is_not_there_opens_the_picker_and_says_so() -> None:
    there = go("deploy@web-9", SHELL)
    assert isinstance(there, ToPicker)
    assert "web-9" in there.notice


def test_first_word_of_the_command_names_a_target() -> None:
    request = SessionRequest(kind="exec", command="web-1", pty=PTY)
    assert go("alice", request) == ToTarget("web-1", None, SessionRequest(kind="shell", pty=PTY))


def test_rest_of_the_command_runs_there_letter_by_letter() -> None:
    there = go("alice", command("deploy@web-1 echo 'a  b' | wc -c"))
    assert there == ToTarget("web-1", "deploy", command("echo 'a  b' | wc -c"))


def test_our_own_words_come_before_targets() -> None:
    assert go("alice", command("play --speed 2 'k7 x'")) == ToBuiltin("play", ("--speed", "2", "k7 x"))
    assert go("sessions", SHELL) == ToBuiltin("sessions", ())


def test_the_log_of_a_container_is_a_session_on_its_cluster() -> None:
    there = go("alice", command("logs orders/shop/api-1:app -f --tail 10"))
    asked = SessionRequest(kind="logs", command="logs -f --tail 10")
    assert there == ToTarget("orders", None, asked, "shop/api-1:app")
    assert isinstance(go("alice", command("logs nowhere/x")), ToPicker)
    assert go("alice", command("logs")) == ToBuiltin("logs", ())
    assert go("orders", command("logs")) == ToTarget("orders", None, command("logs"))


def test_unbalanced_quotes_reach_the_command_as_they_are() -> None:
    assert go("alice", command("play 'k7")) == ToBuiltin("play", ("'k7",))


def test_unknown_command_opens_the_picker_and_says_what_is_not_there() -> None:
    there = go("alice", command("web-9 uptime"))
    assert isinstance(there, ToPicker)
    assert "web-9" in there.notice


def test_subsystem_without_a_target_goes_nowhere() -> None:
    assert isinstance(go("alice", SessionRequest(kind="subsystem", command="sftp")), ToPicker)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("web-1", (None, "web-1", "")),
        ("a@web-1", ("a", "web-1", "")),
        ("@web-1", ("", "web-1", "")),
        ("a@b@web-1", ("a@b", "web-1", "")),
        ("prod/shop/api:app", (None, "prod", "shop/api:app")),
        ("reader@orders-db/a@b", ("reader", "orders-db", "a@b")),
    ],
)
def test_login_is_split_off_at_the_last_at_and_what_is_inside_at_the_first_slash(
    name: str, parts: tuple[str | None, str, str]
) -> None:
    assert split_name(name) == parts
