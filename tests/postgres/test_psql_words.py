"""What may stand behind a PostgreSQL target: a role, and options of psql, as they come through ssh."""

from __future__ import annotations

import pytest

from bastion.connectors.postgres.psql_words import arguments_of, with_role
from bastion.errors import TargetError
from bastion.transport.request import SessionRequest


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("", []),
        ("-A -t -x -q --csv", ["-A", "-t", "-x", "-q", "--csv"]),
        ("-Atq1", ["-A", "-t", "-q", "-1"]),
        ("-F ';' -v 'name=a b' --set=x=1", ["-F", ";", "-v", "name=a b", "--set", "x=1"]),
        # As typed on the person's machine with quotes, which their shell has taken away:
        ("-c select 1", ["-c", "select 1"]),
        ("-Atc select 'a b' as x", ["-A", "-t", "-c", "select 'a b' as x"]),
        (r"-c \d items", ["-c", r"\d items"]),
        ("-v n=1 --command=select  1 -  1", ["-v", "n=1", "--command", "select  1 -  1"]),
        ("--command select 'it''s'", ["--command", "select 'it''s'"]),
        ("-c select 5 -1 -c", ["-c", "select 5 -1 -c"]),
        # With quotes for us, they are words like the others:
        ("-c 'select 1' -At -c 'select 2'", ["-c", "select 1", "-A", "-t", "-c", "select 2"]),
        ('-c "select \'x\'" -A', ["-c", "select 'x'", "-A"]),
        ("-v 'x=a -c b' -A", ["-v", "x=a -c b", "-A"]),
        ("-c '' -A", ["-c", "", "-A"]),
    ],
)  # fmt: skip
def test_options_reach_psql_as_they_are_meant(command: str, arguments: list[str]) -> None:
    assert arguments_of(command) == arguments


@pytest.mark.parametrize(
    "command",
    [
        "-f /etc/passwd", "-o /tmp/x", "-L /tmp/log", "-h other", "-p 1", "-U boss", "-d other", "-w", "-W", "-s", "-S",
        "--file=x", "--output=x", "--host=x", "--username=x", "--dbname=x", "--log-file=x", "--password", "--no-psqlrc",
        "-V", "--help", "-l", "--list", "select 1", "-A other", "-c", "-v", "-A 'open", "-- -f x", "-Af x",
    ],
)  # fmt: skip
def test_what_makes_no_sense_without_files_is_refused_with_an_example(command: str) -> None:
    with pytest.raises(TargetError, match="psql is not started so") as refused:
        arguments_of(command)
    assert "ssh BASTION TARGET/DATABASE ROLE" in refused.value.hint or "For example: -c" in refused.value.hint


@pytest.mark.parametrize(
    ("command", "role", "rest"),
    [
        ("reader", "reader", ""),
        ("reader -c select 1", "reader", "-c select 1"),
        ("  reader   -A", "reader", "-A"),
        ("-c select 1", None, "-c select 1"),
    ],
)
def test_first_word_that_is_no_option_is_the_role(command: str, role: str | None, rest: str) -> None:
    named, request = with_role(SessionRequest(kind="exec", command=command))
    assert (named, request.command, request.kind) == (role, rest, "exec" if rest else "shell")
