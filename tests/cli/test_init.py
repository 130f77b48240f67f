from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pexpect
import pytest

from bastion.ca.keys import is_private
from bastion.config.load import examine, load
from bastion.ops.modes import check_modes
from tests.cli.bastion_command import Command, restored_logging
from tests.rig.process import wait_for_end

PROGRAM = Path(sys.executable).with_name("bastion")


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """A `bastion` command where nothing is yet."""
    return Command(tmp_path, capsys)


def test_options_alone_make_a_bastion_that_passes_its_own_checks(empty: Command) -> None:
    with restored_logging():
        done = empty(
            "init", "--non-interactive", "--data", str(empty.folder / "data"), "--public-name", "bastion.example",
            "--port", "2022", "--issuer", "https://idp.example/realm", "--client-id", "ssh", "--issuer-alias", "idp",
            "--admin-group", 'sre "x"',
        )  # fmt: skip
    assert done.status == 0, done.err
    config = load(empty.file)
    assert (config.server.public_name, config.server.port) == ("bastion.example", 2022)
    assert [(i.alias, i.issuer, i.client_id) for i in config.issuers] == [
        ("idp", "https://idp.example/realm", "ssh")
    ]
    assert [rule.groups for rule in config.policy.rules] == [('sre "x"',)]
    assert [auditor.groups for auditor in config.policy.auditors] == [('sre "x"',)]
    assert examine(empty.file).errors == ()
    check_modes(config)
    assert stat.S_IMODE(empty.file.stat().st_mode) == 0o640


def test_what_comes_next_is_printed_ready_to_paste(run: Command) -> None:
    done = run("init", "--non-interactive")
    (target,), (host,) = (
        run("ca", "show", "target").out.splitlines(),
        run("ca", "show", "host").out.splitlines(),
    )
    assert f"\n    {target}\n" in done.out
    assert f"\n    {host}\n" in done.out
    assert f"\n    bastion --config {run.file} check\n" in done.out
    assert f"\n    bastion --config {run.file} serve\n" in done.out


def test_what_is_there_is_kept_and_named(run: Command) -> None:
    def contents() -> dict[Path, bytes]:
        files = [run.file, *run.config.keys_folder.iterdir()]
        return {path: path.read_bytes() for path in files}

    before = contents()
    done = run("init", "--non-interactive", "--public-name", "another.example")
    assert contents() == before
    kept = [line.split(maxsplit=1)[1] for line in done.out.splitlines() if line.startswith("kept")]
    private = [path for path in before if is_private(path)]
    assert sorted(kept) == sorted(str(path) for path in [*private, run.config.data, run.config.state_file])
    assert "made" not in done.out


def test_a_key_that_is_missing_is_made_anew(run: Command) -> None:
    lost = run.config.recorder_key_file
    lost.unlink()
    lost.with_name("recorder-key.pub").unlink()
    done = run("init", "--non-interactive")
    assert f"made  {lost}\n" in done.out
    check_modes(run.config)


def test_a_configuration_written_by_hand_is_taken_as_it_is(empty: Command) -> None:
    empty.file.write_text('data = "elsewhere"\n')
    with restored_logging():
        assert empty("init").status == 0
    assert (empty.folder / "elsewhere" / "keys" / "host-key").exists()
    assert empty.file.read_text() == 'data = "elsewhere"\n'


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--issuer", "http://idp.example", "use https"),
        ("--public-name", "a b", "write a host name or an IP address"),
        ("--public-name", "x:22", "write the port in 'port'"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_made(
    empty: Command, option: str, value: str, message: str
) -> None:
    with restored_logging():
        done = empty("init", "--non-interactive", "--data", "data", option, value)
    assert done.status == 78
    assert message in done.err
    assert list(empty.folder.iterdir()) == []


def test_the_unit_starts_this_very_program_with_this_configuration(run: Command) -> None:
    unit = run.folder / "bastion.service"
    done = run("init", "--systemd", str(unit))
    assert f"made  {unit}\n" in done.out
    assert f" --config {run.file} serve\n" in unit.read_text()
    assert "systemctl enable --now bastion.service" in done.out
    before = unit.read_text()
    assert f"kept  {unit}\n" in run("init", "--systemd", str(unit)).out
    assert unit.read_text() == before


def test_a_person_is_asked_again_until_the_answer_is_right(tmp_path: Path) -> None:
    dialogue = pexpect.spawn(
        str(PROGRAM), ["--config", "bastion.toml", "init"], cwd=str(tmp_path),
        encoding="utf-8", timeout=20, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    dialogue.expect("Folder of state, keys and recordings .*: ")
    dialogue.sendline("data")
    dialogue.expect("Name people type after ssh .*: ")
    dialogue.sendline("alice@bastion.example")
    dialogue.expect("leave the login out")
    dialogue.expect("Name people type after ssh .*: ")
    dialogue.sendline("bastion.example")
    dialogue.expect(r"Port \[2222\]: ")
    dialogue.sendline("99999")
    dialogue.expect("Error")
    dialogue.expect("Port .*: ")
    dialogue.sendline("")
    dialogue.expect("Address to listen on.*: ")
    dialogue.sendline("")
    dialogue.expect("Issuer URL.*: ")
    dialogue.sendline("http://idp.example")
    dialogue.expect("use https")
    dialogue.expect("Issuer URL.*: ")
    dialogue.sendline("https://idp.example")
    dialogue.expect("Client id.*: ")
    dialogue.sendline("")
    dialogue.expect("Short name.*: ")
    dialogue.sendline("")
    dialogue.expect("Group that may reach everything.*: ")
    dialogue.sendline("sre")
    wait_for_end(dialogue)
    dialogue.close()
    assert dialogue.exitstatus == 0
    config = load(tmp_path / "bastion.toml")
    assert (config.server.public_name, config.server.port) == ("bastion.example", 2222)
    assert config.issuers[0].client_id == "bastion"
    check_modes(config)
