from __future__ import annotations

import asyncio
import time

import pytest

from bastion.ca.authorities import Authorities
from bastion.state.store import State
from tests.cli.bastion_command import Command


async def reopened(run: Command) -> Authorities:
    """The authorities as a server that starts now would have them."""
    config = run.config
    async with await State.open(config.state_file, create=False) as state:
        return await Authorities.open(
            config.keys_folder, state, config.certificates, config.server.public_name, time.time
        )


def test_status_lists_every_key_with_its_standing(run: Command) -> None:
    run("ca", "rotate", "target")
    found = run("ca", "status", "--json").json
    assert [(row["authority"], row["status"], row["certificates"]) for row in found] == [
        ("host", "active", 1),
        ("target", "active", None),
        ("target", "trusted", None),
        ("tls", "active", None),
        ("user", "active", 0),
    ]
    table = run("ca", "status").out.splitlines()
    assert table[0].split() == [
        "AUTHORITY", "STATUS", "TRUSTED", "UNTIL", "CERTIFICATES", "SINCE", "ID", "FINGERPRINT",
    ]  # fmt: skip
    assert all(row["fingerprint"] in line for row, line in zip(found, table[1:], strict=True))


def test_show_prints_the_lines_of_every_trusted_key_and_nothing_else(run: Command) -> None:
    (before,) = run("ca", "show", "target").out.splitlines()
    assert before.startswith("ssh-ed25519 AAAA")
    run("ca", "rotate", "target")
    new, old = run("ca", "show", "target").out.splitlines()
    assert old == before != new
    line = run("ca", "show", "host").out
    assert line.startswith("@cert-authority [bastion.example]:2222,*.bastion.example ssh-ed25519 ")


def test_rotating_the_target_key_prints_the_line_to_install_and_how_to_see_who_lacks_it(run: Command) -> None:
    done = run("ca", "rotate", "target", "--overlap", "7d")
    assert done.status == 0
    assert "trusted until" in done.out
    assert run("ca", "show", "target").out.splitlines()[0] == done.out.splitlines()[-1]
    assert "bastion target check" in done.err


def test_rotating_the_host_key_keeps_the_certificate_and_says_when_the_next_one_comes(run: Command) -> None:
    before = asyncio.run(reopened(run)).host_identity()
    done = run("ca", "rotate", "host")
    assert "@cert-authority [bastion.example]:2222" in done.out
    assert asyncio.run(reopened(run)).host_identity() == before
    assert "shows a certificate under the new key from" in done.err


def test_json_tells_old_and_new_key_and_what_to_install(run: Command) -> None:
    found = run("ca", "rotate", "user", "--json").json
    assert found["new"]["status"] == "active"
    assert found["old"]["trusted_until"] <= time.time()
    assert len(found["install"]) == 1


def test_a_rotation_stands_in_the_audit_trail_with_who_did_it(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "carol")
    run("ca", "rotate", "host")
    (event,) = run("audit", "--event", "ca.rotated", "--json").json
    assert (event["user"], event["detail"]["authority"]) == ("carol", "host")


@pytest.mark.parametrize("overlap", ["soon", "-1d", "7"])
def test_an_overlap_that_is_no_duration_is_refused_with_an_example(run: Command, overlap: str) -> None:
    done = run("ca", "rotate", "target", f"--overlap={overlap}")
    assert done.status == 2
    assert 'write a duration such as "90s"' in done.err


def test_a_bastion_without_state_is_told_to_be_initialised(run: Command) -> None:
    run.config.state_file.unlink()
    done = run("ca", "status")
    assert done.status == 74
    assert "bastion init" in done.err
