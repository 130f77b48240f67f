"""Rotation of the three authorities, as people, targets and clients live through it."""

from __future__ import annotations

import subprocess

from tests.rig.process import wait_until
from tests.rig.world import World


def rotate(world: World, authority: str, *arguments: str) -> str:
    done = world.bastion.run("ca", "rotate", authority, *arguments)
    assert done.status == 0, done.errors
    return done.text + done.errors


def public_lines(world: World, authority: str) -> list[str]:
    done = world.bastion.run("ca", "show", authority)
    assert done.status == 0, done.errors
    return done.text.splitlines()


def test_old_and_new_user_certificates_work_side_by_side(own_world: World) -> None:
    old = own_world.certified("alice")
    said = rotate(own_world, "user")
    assert "trusted until" in said.lower()
    new = own_world.client("alice-again")
    own_world.sign_in(new, "alice")
    for client in (old, new):
        assert client.run("web-1@localhost", "true").status == 0
    authorities = {
        subprocess.run(["ssh-keygen", "-Lf", str(client.certificate)], capture_output=True, check=True)
        .stdout.decode()
        .split("Signing CA: ")[1]
        .split()[1]
        for client in (old, new)
    }
    assert len(authorities) == 2


def test_targets_that_were_not_told_of_the_new_key_go_on_and_check_names_them(own_world: World) -> None:
    alice = own_world.certified("alice")
    rotate(own_world, "target")
    assert alice.run("web-1@localhost", "true").status == 0
    behind = own_world.bastion.run("target", "check", "web-1")
    assert "does not know the present key of the target CA" in behind.text
    newest = public_lines(own_world, "target")
    own_world.web_1.trust_ca(*newest)
    assert own_world.bastion.run("target", "check", "web-1").text == "web-1: ok (as deploy)\n"
    assert alice.run("web-1@localhost", "true").status == 0


def test_running_bastion_signs_with_the_new_target_key_at_once(own_world: World) -> None:
    alice = own_world.certified("alice")
    before = set(public_lines(own_world, "target"))
    rotate(own_world, "target")
    added = [line for line in public_lines(own_world, "target") if line not in before]
    own_world.web_2.trust_ca(*added)
    wait_until(lambda: alice.run("web-2@localhost", "true").status == 0, "a session under the new key")


def test_client_that_trusts_the_host_ca_gets_in_without_a_question_before_and_after(own_world: World) -> None:
    alice = own_world.certified("alice")
    port = own_world.bastion.port

    def trust(lines: list[str]) -> None:
        keys = [line.split("@cert-authority ")[1].split(" ", 1)[1] for line in lines]
        alice.known_hosts.write_text("".join(f"@cert-authority [localhost]:{port} {key}\n" for key in keys))

    strict = ("-o", "StrictHostKeyChecking=yes")
    trust(public_lines(own_world, "host"))
    assert alice.run(*strict, "web-1@localhost", "true").status == 0
    old = public_lines(own_world, "host")
    said = rotate(own_world, "host")
    assert "@cert-authority" in said
    trust(old)  # who has not been told yet still gets in: the old certificate is shown until it expires
    assert alice.run(*strict, "web-1@localhost", "true").status == 0
    assert len(public_lines(own_world, "host")) == 2
