"""The ways out of psql: what each types, and how one sees that it got out."""

from __future__ import annotations

from dataclasses import dataclass

OUTSIDE = "words from a file outside"


@dataclass(frozen=True, slots=True)
class Escape:
    """What is typed, with {mark} for a file that is made if it works, or {secret} for one that is *shown* then.

    *is_fixed* in some versions of psql: there it does nothing without a box either.
    """

    name: str
    lines: tuple[str, ...]
    shown: str = ""
    is_fixed: bool = False


def _runs(name: str, *lines: str, is_fixed: bool = False) -> Escape:
    return Escape(name, lines, is_fixed=is_fixed)


def _shows(name: str, *lines: str, shown: str = OUTSIDE) -> Escape:
    return Escape(name, lines, shown)


_TABLE = "CREATE TEMP TABLE IF NOT EXISTS t (line text);"
_PAGED = (r"\pset pager always", "SELECT 1;", r"\pset pager off")

ESCAPES = (
    # Programs
    _runs("a command", r"\! touch {mark}"),
    _runs("a shell", r"\!", "touch {mark}; q() {{ kill $PPID; exit; }}", r"\r"),  # where \q then means that
    _runs("output to a program", r"\o |cat >{mark}", "SELECT 1;", r"\o"),
    _runs("output to a program, long name", r"\out |cat >{mark}", "SELECT 1;", r"\o"),
    _runs("one result to a program", r"SELECT 1 \g |cat >{mark}"),
    _runs("one result to a program, expanded", r"SELECT 1 \gx |cat >{mark}"),
    _runs("one result with options to a program", r"SELECT 1 \g (format=csv) |cat >{mark}"),
    _runs("the statement to a program", "SELECT 1", r"\w |cat >{mark}", r"\r"),
    _runs("the statement to a program, long name", "SELECT 1", r"\write |cat >{mark}", r"\r"),
    _runs("copying to a program", r"\copy (SELECT 1) TO PROGRAM 'cat >{mark}'"),
    _runs("copying from a program", _TABLE, r"\copy t FROM PROGRAM 'touch {mark}'"),
    _runs("a pager of psql", r"\setenv PSQL_PAGER 'cat >{mark}'", *_PAGED),
    _runs("a pager", r"\setenv PSQL_PAGER", r"\setenv PAGER 'cat >{mark}'", *_PAGED),
    _runs(
        "a pager that watches", r"\pset pager on", r"\setenv PSQL_WATCH_PAGER 'cat >{mark}'", "CREATE TEMP SEQUENCE n;",
        r"SELECT 1 / (2 - nextval('n')) \watch 0.01",  # ends at the second: a division by zero
    ),
    _runs("a pager for help", r"\setenv PSQL_PAGER 'cat >{mark}'", r"\pset pager always", r"\?", r"\pset pager off"),
    _runs("an editor of psql", r"\setenv PSQL_EDITOR 'touch {mark};'", r"\e", r"\r"),
    _runs("an editor", r"\setenv PSQL_EDITOR", r"\setenv EDITOR 'touch {mark};'", r"\edit", r"\r"),
    _runs("a visual editor", r"\setenv EDITOR", r"\setenv VISUAL 'touch {mark};'", r"\e", r"\r"),
    _runs("an editor for a function", r"\setenv PSQL_EDITOR 'touch {mark};'", r"\ef", r"\r"),
    _runs("an editor for a view", r"\setenv PSQL_EDITOR 'touch {mark};'", r"\ev", r"\r"),
    _runs("a shell of one's choice", r"\setenv SHELL /bin/sh", r"\! touch {mark}"),
    _runs("backticks in a variable", r"\set x `touch {mark}`"),
    _runs("backticks in words", r"\echo `touch {mark}`"),
    _runs("backticks in a warning", r"\warn `touch {mark}`"),
    _runs("backticks in a condition", r"\if `touch {mark}`", r"\endif"),
    _runs("backticks in an option", r"\pset title `touch {mark}`", r"\pset title"),
    _runs("backticks in the environment", r"\setenv X `touch {mark}`"),
    _runs("backticks in a pattern", r"\dt `touch {mark}`"),
    _runs("backticks in a prompt", r"\set PROMPT1 '%`touch {mark}`'", "", r"\set PROMPT1 '%/%R%x%# '"),
    _runs("backticks in a second prompt", r"\set PROMPT2 '%`touch {mark}`'", "SELECT", "1;", r"\set PROMPT2 '> '"),
    _runs("backticks to lift", r"\restrict x", r"\unrestrict `touch {mark}`", r"\unrestrict x", is_fixed=True),
    # Files to write
    _runs("output to a file", r"\o {mark}", "SELECT 1;", r"\o"),
    _runs("one result to a file", r"SELECT 1 \g {mark}"),
    _runs("the statement to a file", "SELECT 1", r"\w {mark}", r"\r"),
    _runs("copying to a file", r"\copy (SELECT 1) TO '{mark}'"),
    _runs("the history to a file", r"\s {mark}"),
    _runs("a large object to a file", r"SELECT lo_from_bytea(0, 'x') AS o \gset", r"\lo_export :o {mark}"),
    # Files to read
    _shows("a script", r"\i {secret}"),
    _shows("a script, long name", r"\include {secret}"),
    _shows("a script beside the last", r"\ir {secret}"),
    _shows("a script in another folder", r"\cd {folder}", r"\i secret"),
    _shows("a script whose name the Tab key completes", "\\i {folder}/secr\t"),
    _shows("a file to edit", r"\setenv PSQL_EDITOR touch", r"\e {secret}", r"\r"),
    _shows("copying from a file", _TABLE, r"\copy t FROM '{secret}'", "TABLE t;"),
    _shows("copying from the kernel", _TABLE, r"\copy t FROM '/proc/self/status'", "TABLE t;", shown="Name:"),
    _shows("a large object from a file", r"\lo_import {secret}", shown="lo_import [0-9]"),
    _shows("a program's words", r"\set x `cat {secret}`", r"\echo :x"),
    # Other servers
    _shows("another server", r'\c "host=127.0.0.1 port={port}"', shown="You are now connected"),
    _shows("another server by its address", r'\c "hostaddr=127.0.0.1 port={port}"', shown="You are now connected"),
    _shows("another server by IPv6", r'\c "host=::1 port={port}"', shown="Connection refused"),
    _shows("another socket", r'\c "host={servers} port={port}"', shown="You are now connected"),
)  # fmt: skip
