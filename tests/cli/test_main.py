from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bastion import __version__
from bastion.errors import SessionRefused
from cli import commands
from cli.commands import COMMANDS, load_command
from cli.main import bastion, main
from policy.errors import PolicyError
from recorder.errors import NoSuchSession

PROGRAM = [sys.executable, "-c", "from cli.main import main; main()"]


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `bastion` as a process of its own, without a terminal."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BASTION_")}
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        env={**clean, **(environment or {})},
        check=False,
    )


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> list[click.Command]:
    """Puts a command of the test's making in the place of `check`: append it to the list."""
    made: list[click.Command] = []
    monkeypatch.setattr(commands, "load_command", lambda name: made[0])
    return made


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_help_lists_every_command_without_importing_one() -> None:
    code = """
import sys
from cli.main import main
try:
    main(["--help"])
finally:
    loaded = {"pydantic", "asyncssh", "rich", "asyncio"} & set(sys.modules)
    assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for name, line in COMMANDS.items():
        assert f"  {name}" in done.stdout
        assert line in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_in_the_table_is_there_and_has_help(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert command.help


def test_the_version_is_the_packages() -> None:
    done = run("--version")
    assert done.stdout == f"bastion {__version__}\n"


def test_a_mistyped_command_is_answered_with_the_right_one() -> None:
    done = run("chek")
    assert done.returncode == 2
    assert "Did you mean 'check'?" in done.stderr


def test_a_command_that_cannot_be_imported_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "broken", "Cannot be imported.")
    assert exit_code("broken") == 70
    assert "the command 'broken' of this installation cannot be loaded" in capsys.readouterr().err
    assert exit_code("--help") == 0
    assert exit_code("check", "--help") == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SessionRefused("no \x1b[2J rule", hint="Ask."), 77),
        (NoSuchSession("no \x1b[2J rule", hint="Ask."), 66),
        (PolicyError("no \x1b[2J rule", hint="Ask."), 78),
    ],
)
def test_an_error_is_a_line_and_a_hint_and_its_exit_code(
    command: list[click.Command], capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    @click.command()
    def fail() -> None:
        raise error

    command.append(fail)
    assert exit_code("check") == code
    printed = capsys.readouterr()
    assert printed.err == "bastion: no \\x1b[2J rule\n  Ask.\n"
    assert printed.out == ""


def test_an_error_of_the_system_is_a_line_too(
    command: list[click.Command], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    @click.command()
    def fail() -> None:
        (tmp_path / "nowhere").read_text()

    command.append(fail)
    assert exit_code("check") == 74
    assert capsys.readouterr().err == f"bastion: {tmp_path}/nowhere: No such file or directory\n"


def test_what_a_command_returns_is_the_exit_code(command: list[click.Command]) -> None:
    @click.command()
    def answer() -> int:
        return 3

    command.append(answer)
    assert exit_code("check") == 3


def test_no_configuration_anywhere_is_an_error_that_names_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    if Path("/etc/bastion/bastion.toml").exists():
        pytest.skip("this machine has a bastion")
    done = run("check")
    assert done.returncode == 78
    assert "neither bastion.toml nor /etc/bastion/bastion.toml exists" in done.stderr
    assert "bastion init" in done.stderr


def test_the_configuration_is_named_by_option_by_environment_or_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    for name in ("bastion.toml", "a.toml", "b.toml"):
        (tmp_path / name).write_text("")
    assert f"{tmp_path}/bastion.toml: " in run("check").stdout
    assert f"{tmp_path}/a.toml: " in run("check", environment={"BASTION_CONFIG": "a.toml"}).stdout
    assert (
        f"{tmp_path}/b.toml: "
        in run("--config", "b.toml", "check", environment={"BASTION_CONFIG": "a"}).stdout
    )


def test_a_fault_of_ours_is_a_line_and_a_traceback_only_on_request() -> None:
    code = """
import cli.main, cli.settings

cli.settings.Settings.path = property(lambda self: 1 / 0)
cli.main.main(["check"])
"""
    program = [sys.executable, "-c", code]
    quiet = subprocess.run(program, capture_output=True, text=True, check=False)
    assert quiet.returncode == 1
    assert quiet.stderr.startswith("bastion: internal error: ZeroDivisionError: division by zero\n")
    assert "Traceback" not in quiet.stderr
    asked = {**os.environ, "BASTION_TRACEBACK": "1"}
    assert (
        "Traceback" in subprocess.run(program, capture_output=True, text=True, env=asked, check=False).stderr
    )


def test_an_interrupt_ends_quietly_with_130() -> None:
    code = """
import click, sys, time
import cli.commands, cli.main

@click.command()
def wait():
    print("waiting", flush=True)
    time.sleep(60)

cli.commands.load_command = lambda name: wait
cli.main.main(["check"])
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert error.strip() == b""


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--json"]])
def test_a_reader_that_leaves_early_is_not_an_error_message(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "bastion.toml").write_text("")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*PROGRAM, "--config", str(tmp_path / "bastion.toml"), *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("environment", "is_red"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_an_error_is_red_only_on_a_terminal_that_wants_colour(
    environment: dict[str, str], is_red: bool, tmp_path: Path
) -> None:
    leader, follower = pty.openpty()
    without = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    try:
        subprocess.run(
            [*PROGRAM, "--config", str(tmp_path / "none"), "policy", "explain", "a", "b"],
            stdout=subprocess.DEVNULL,
            stderr=follower,
            env={**without, "TERM": "xterm", **environment},
            check=False,
        )
        error = os.read(leader, 4096)
    finally:
        os.close(follower)
        os.close(leader)
    assert error.startswith(b"\x1b[31mbastion: ") is is_red
    assert (b"\x1b" in error) is is_red


def test_the_group_is_named_as_the_program() -> None:
    assert bastion.name == "bastion"
