"""A password typed at a prompt without echo stands nowhere on the bastion's disk."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recorder.events import Input, Masked, Typed
from recorder.reader import open_recording
from tests.rig.openssh import Client
from tests.rig.process import wait_for_end
from tests.rig.world import World
from tests.server.recorded import rows, wait_for_ending

SignIn = Callable[[str], Client]
SECRET = "Hunter2-correct-horse"

PROMPTS = {
    "read -s": 'bash -c \'read -s -p "Password: " s; echo; echo "got ${#s}"\'',
    "stty -echo": 'sh -c \'stty -echo; printf "Password: "; read s; stty echo; echo; echo "got ${#s}"\'',
    "getpass": 'python3 -c \'import getpass; print("got", len(getpass.getpass("Password: ")))\'',
}


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("is_pasted", [False, True], ids=["typed", "pasted"])
def test_password_without_echo_is_in_no_file_of_the_bastion(
    sign_in: SignIn, world: World, prompt: str, is_pasted: bool
) -> None:
    alice = sign_in("alice")
    ssh = alice.spawn("-t", "web-1@localhost", PROMPTS[prompt])
    ssh.expect_exact("Password: ")
    for part in [SECRET] if is_pasted else SECRET:
        ssh.send(part)
    ssh.send("\r")
    ssh.expect_exact(f"got {len(SECRET)}")
    wait_for_end(ssh)
    ssh.close()
    row = wait_for_ending(world, "exited")
    assert row["input_bytes"] == len(SECRET) + 1
    with open_recording(world.recordings[-1]) as reader:
        events = [entry.event for entry in reader]
    assert sum(event.count for event in events if isinstance(event, Masked)) == len(SECRET)
    assert b"".join(event.data for event in events if isinstance(event, Input)) == b"\r"
    assert sum(event.count for event in events if isinstance(event, Typed)) >= len(SECRET)
    for file in (world.data / "recordings").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


def test_commands_typed_in_a_shell_are_in_the_clear_and_the_password_between_them_is_not(
    sign_in: SignIn, world: World
) -> None:
    ssh = sign_in("alice").spawn("web-1@localhost")
    ssh.expect(r"[$#] ")
    for key in "read -s pin\r":
        ssh.send(key)
    ssh.expect_exact("read -s pin")
    ssh.expect_exact("\n")
    for key in SECRET + "\r":
        ssh.send(key)
    for key in "echo ${#pin} letters\r":
        ssh.send(key)
    ssh.expect_exact(f"{len(SECRET)} letters")
    ssh.send("exit\r")
    wait_for_end(ssh)
    ssh.close()
    assert rows(world)[0]["input_bytes"] > len(SECRET)
    content = world.recordings[-1].read_bytes()
    assert SECRET.encode() not in content
    with open_recording(world.recordings[-1]) as reader:
        events = [entry.event for entry in reader]
    clear = b"".join(event.data for event in events if isinstance(event, Input))
    assert clear == b"read -s pin\r\recho ${#pin} letters\rexit\r"
    assert sum(event.count for event in events if isinstance(event, Masked)) == len(SECRET)
