"""What a box lets its program do, asked of the kernel from within by a program that can make any system call."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from bastion.ca.authorities import Authorities
from bastion.config.targets import PostgresTarget
from bastion.connectors import box
from bastion.connectors.box import Boxed, box_command, known_terminal, open_filter, what_is_missing
from bastion.connectors.postgres import psql_program
from bastion.connectors.postgres.psql_program import boxable_psql
from bastion.connectors.seccomp import Processor, processor_of, seccomp_filter
from bastion.errors import TargetError
from bastion.ops.targets import check
from tests.rig.process import free_port

PERL = Path("/usr/bin/perl")
"""In every Debian, and able to make any system call by its number."""

REFUSED = {1: "EPERM", 38: "ENOSYS", 97: "EAFNOSUPPORT"}


@pytest.fixture(scope="module", autouse=True)
def _machine() -> None:
    if problem := what_is_missing():
        pytest.skip(problem)
    if not PERL.exists():
        pytest.skip("perl is not here")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="box-") as name:  # where an ordinary user gets, too
        path = Path(name)
        path.chmod(0o755)
        yield path


def perl(folder: Path, script: str, *, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run *script* in a box; *before* are words that go before its command."""
    boxed = Boxed(program=PERL, arguments=["-e", f"$| = 1; {script}"], sockets=folder)
    filtering = open_filter()
    try:
        command = [*before, *box_command(boxed, filter_descriptor=filtering)]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=20,
            pass_fds=[filtering], cwd="/",
        )  # fmt: skip
    finally:
        os.close(filtering)


def this_processor() -> Processor:
    found = processor_of(os.uname().machine)
    assert found is not None
    return found


def errors_of(folder: Path, calls: Sequence[tuple[int, ...]]) -> list[str]:
    """What the kernel says to each of the system *calls*, made in a box."""
    script = "".join(
        f"$! = 0; my $r{n} = syscall({', '.join(map(str, call))}); print($r{n} == -1 ? $!+0 : 'done', qq(\\n));"
        for n, call in enumerate(calls)
    )
    done = perl(folder, script)
    assert done.returncode == 0, done.stderr
    return [REFUSED.get(int(word), word) if word.isdigit() else word for word in done.stdout.split()]


def test_no_process_can_be_made_traced_or_moved_into_other_namespaces(folder: Path) -> None:
    numbers = this_processor()
    assert set(errors_of(folder, [(number, 0, 0, 0, 0, 0) for number in numbers.denied])) == {"EPERM"}
    sigchld, thread, new_user = 17, 0x10000, 0x10000000
    made = [(numbers.clone, flags, 0, 0, 0, 0) for flags in (sigchld, new_user)]
    assert errors_of(folder, [*made, (numbers.clone3, 0, 0)]) == ["EPERM", "EPERM", "ENOSYS"]
    # A thread may be: refused for what else is wrong with it (EINVAL), and not by the filter.
    assert errors_of(folder, [(numbers.clone, thread, 0, 0, 0, 0)]) == ["22"]


def test_sockets_are_local_ones_and_nobody_types_into_the_terminal(folder: Path) -> None:
    numbers = this_processor()
    families = {"local": 1, "IPv4": 2, "IPv6": 10, "netlink": 16, "packet": 17, "vsock": 40}
    found = errors_of(folder, [(numbers.socket, family, 1, 0) for family in families.values()])
    assert found == ["done"] + ["EAFNOSUPPORT"] * 5
    tiocsti, tioclinux, tiocgwinsz = 0x5412, 0x541C, 0x5413
    asked = [(numbers.ioctl, 0, request, 0) for request in (tiocsti, tioclinux, tiocgwinsz)]
    assert errors_of(folder, asked) == ["EPERM", "EPERM", "25"]  # the last: no terminal here (ENOTTY)
    # The kernel reads 32 bits of a request, so nobody gets by with more.
    assert errors_of(folder, [(numbers.ioctl, 0, tiocsti + (1 << 32), 0)]) == ["EPERM"]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="other processors have one way to count")
def test_system_calls_by_their_other_numbers_are_refused(folder: Path) -> None:
    assert errors_of(folder, [(0x40000000 + 57,)]) == ["ENOSYS"]  # fork, counted as x32 does


def test_nothing_is_there_and_nothing_can_be_written(folder: Path) -> None:
    script = """
        sub under { my $d = shift; opendir(my $h, $d || '/') or return; map { "$d/$_" } grep { !/^\\.+$/ } readdir $h }
        my @all; my @next = under('');
        while (@next) { my $p = shift @next; push @all, $p; push @next, under($p) if -d $p && !-l $p }
        print "$_\\n" for sort @all;
        for my $d ('', '/app', '/dev', '/s', '/lib', '/usr') { if (open(my $h, '>', "$d/new")) { print "wrote $d\\n" } }
        print "env $_\\n" for sort keys %ENV;
    """
    done = perl(folder, script)
    lines = done.stdout.splitlines()
    assert [
        line for line in lines if line.startswith(("wrote", "/proc", "/etc", "/tmp", "/home", "/bin"))
    ] == []
    assert [line for line in lines if line.startswith(("/dev/", "/app/"))] == [
        "/app/perl",
        "/dev/null",
        "/dev/tty",
    ]
    assert [line for line in lines if line.startswith("env")] == [
        f"env {name}" for name in ("HOME", "LANG", "PATH", "PWD", "TERM")
    ]
    assert not any("/bin/" in line or line.endswith("/sh") for line in lines)
    assert list(folder.iterdir()) == []


def test_memory_and_files_have_limits(folder: Path) -> None:
    done = perl(folder, "my $x = 'x' x (2 * 1024 * 1024 * 1024); print 'got it'")
    assert "got it" not in done.stdout
    assert "Out of memory" in done.stderr
    opened = perl(
        folder, "my @h; for (1 .. 100) { open(my $h, '<', '/dev/null') or last; push @h, $h } print scalar @h"
    )
    assert int(opened.stdout) < box.OPEN_FILES


def test_without_a_box_the_same_calls_are_made(folder: Path) -> None:
    numbers = this_processor()
    script = f"my $s = syscall({numbers.socket}, 2, 1, 0);"
    script += "my $p = fork; exit if $p == 0; print $s > 0 && $p ? 'both' : 'no'"
    plain = subprocess.run([PERL, "-e", script], capture_output=True, text=True, check=True, timeout=20)
    assert plain.stdout == "both"
    assert perl(folder, script).stdout != "both"


@pytest.mark.skipif(os.getuid() != 0, reason="we are an ordinary user already")
def test_ordinary_users_can_make_one(folder: Path) -> None:
    nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--no-new-privs"]
    done = perl(folder, "print join ' ', $<, $(+0", before=nobody)
    assert (done.stdout, done.stderr) == ("1000 1000", "")


def test_program_that_dies_of_a_signal_is_told_of_and_leaves_nothing(folder: Path) -> None:
    assert perl(folder, "kill 'TERM', $$").returncode == 128 + 15


def test_terminals_that_nobody_describes_are_plain_ones() -> None:
    assert known_terminal("xterm-256color") == "xterm-256color"
    for name in ("no-such-terminal", "../../etc/passwd", "", "x" * 200, "a/b"):
        assert known_terminal(name) == "dumb"


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("bwrap", "bwrap is not installed: apt-get install bubblewrap"),
        ("psql", "psql is not installed: apt-get install postgresql-client"),
        ("namespaces", "bubblewrap cannot make a box: "),
        ("processor", "no filter of system calls is known for processors of the kind vax"),
    ],
)
def test_where_something_is_missing_nothing_runs_without_a_box(
    lacking: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    match lacking:
        case "bwrap":
            monkeypatch.setattr(shutil, "which", lambda name: None if name == "bwrap" else f"/usr/bin/{name}")
        case "psql":
            monkeypatch.setattr(psql_program, "VERSIONS", tmp_path)
            monkeypatch.setenv("PATH", str(tmp_path))
        case "processor":
            monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "vm", "6", "1", "vax")))
        case _:  # a kernel that says no, which bubblewrap tells as it does there
            refusing = tmp_path / "bwrap"
            refusing.write_text(
                "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"
            )
            refusing.chmod(0o755)
            monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
            box._try.cache_clear()
    with pytest.raises(TargetError, match="does not run it without") as refused:
        boxable_psql()
    assert "ssh -L" in refused.value.hint
    assert words in psql_program.psql_problem()


async def test_check_of_a_target_says_what_psql_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = PostgresTarget.model_validate(
        {
            "kind": "postgres",
            "name": "orders-db",
            "address": "127.0.0.1",
            "port": free_port(),
            "databases": ["orders"],
            "accounts": [{"login": "reader"}],
        }
    )
    no_authorities = cast(Authorities, None)  # which are for SSH alone
    assert not any("psql" in note for note in (await check(target, "reader", no_authorities)).notes)
    monkeypatch.setattr(psql_program, "VERSIONS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    (note,) = [note for note in (await check(target, "reader", no_authorities)).notes if "psql" in note]
    assert note.endswith("psql is not installed: apt-get install postgresql-client")


def test_filter_is_made_for_processors_that_are_known() -> None:
    for machine in ("x86_64", "aarch64"):
        program = seccomp_filter(machine)
        assert program is not None
        assert len(program) % 8 == 0
        assert len(program) < 4096  # what a pipe takes at once
    assert seccomp_filter("vax") is None
