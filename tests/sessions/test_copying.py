"""Which commands copy files, and which way: what is said so that a shell does more is no copy."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bastion.errors import SessionRefused
from bastion.sessions.copying import Copy, copy_of, refuse_copy
from bastion.sessions.words import words_of
from bastion.transport.request import SessionRequest
from policy.files import Copying, FileTerms

PUSH, PULL = "rsync --server -logDtpre.iLsfxCIvu . dir/", "rsync --server --sender -logDtpre.iLsfxCIvu . dir/"


def copy(command: str) -> Copy | None:
    return copy_of(SessionRequest(kind="exec", command=command))


@pytest.mark.parametrize(
    ("command", "directions"),
    [
        ("scp -r -t dir", {"upload"}),
        ("scp -p -f 'a b'", {"download"}),
        (PUSH, {"upload"}),
        (PULL, {"download"}),
        ("/usr/bin/rsync --server --sender -r . *.log", {"download"}),
        # rsync goes by options, wherever they come from
        ("rsync --server -slogDtpre.iLsfxCIvu", {"upload", "download"}),
        ("rsync --server --secluded-args", {"upload", "download"}),
        ("rsync --server -r --sender . dir", {"upload", "download"}),
        ("rsync --server --temp-dir --sender -r . dir", {"upload", "download"}),
        ("rsync --server -r . *", {"upload", "download"}),
        ("rsync --server --sender -r --remove-source-files . dir", {"upload", "download"}),
        ("rsync --server --sender -r --log-file=.profile . dir", {"upload", "download"}),
        ("rsync --server -r --files-from=/etc/passwd . dir", {"upload", "download"}),
        ("rsync --server -r --remove-source-files . dir", {"upload"}),
    ],
)
def test_direction_is_that_of_the_command_or_either(command: str, directions: set[str]) -> None:
    found = copy(command)
    assert found is not None
    assert set(found.directions) == directions


@pytest.mark.parametrize(
    "command",
    [
        f"{PUSH}; id",
        f"{PULL}\nid",
        f"{PUSH} | sh",
        f"{PUSH} && id",
        f"{PUSH} $(id)",
        f'{PUSH} "`id`"',
        f"{PUSH} > file",
        "rsync --server {--sender,-r} . dir",
        "rsync --server --daemon .",
        "rsync --help",
        "scp -t dir & id",
        "scp -t 'dir",
        "echo rsync --server",
    ],
)
def test_what_may_do_more_is_no_copy(command: str) -> None:
    assert copy(command) is None


def test_one_way_lets_nothing_pass_that_may_go_the_other(subtests: pytest.Subtests) -> None:
    for allowed in ("upload", "download"):
        terms = Copying.of([FileTerms(directions=(allowed,))])
        for command in (PUSH, PULL, "rsync --server -s", "rsync --server -r . *"):
            found = copy(command)
            assert found is not None
            with subtests.test(allowed=allowed, command=command):
                if found.directions == (allowed,):
                    refuse_copy(found, terms, "web")
                else:
                    with pytest.raises(SessionRefused):
                        refuse_copy(found, terms, "web")


@given(st.text("ab-. \\'\"$;&|`(<{\n#=", max_size=12))
@settings(max_examples=150, deadline=None)
@example("a\\;b '$c' \"d;\\$e\"")
def test_words_are_those_that_a_shell_hands_on(command: str) -> None:
    words = words_of(f"x {command}")
    if words:
        said = subprocess.run(
            ["/bin/sh", "-fc", f"printf '%s\\0' x {command}"], capture_output=True, check=True
        ).stdout
        assert said.decode() == "".join(f"{word}\0" for word in words)
