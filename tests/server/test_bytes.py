"""What goes through is what came in, byte by byte, in both directions, and the recording has all of it."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from collections.abc import Callable

import pytest

from tests.rig.openssh import Client
from tests.rig.world import World
from tests.server.recorded import rows, streams

SignIn = Callable[[str], Client]
MEGABYTE = 1_000_000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def alice(sign_in: SignIn) -> Client:
    return sign_in("alice")


def test_command_has_its_own_stdout_stderr_and_exit_status(alice: Client) -> None:
    done = alice.run("web-1@localhost", "echo out; echo err >&2; exit 7")
    assert (done.status, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_login_and_target_in_the_user_name_choose_the_account(alice: Client) -> None:
    assert alice.run("ops@web-2@localhost", "whoami; hostname").text == "ops\nweb-2\n"


def test_target_and_command_as_words_choose_the_target(alice: Client) -> None:
    done = alice.run("localhost", "ops@web-1", "echo 'a  b' | tr a-z A-Z; hostname")
    assert done.text == "A  B\nweb-1\n"


@pytest.mark.parametrize(
    "data", [b"", b"one line\n", bytes(range(256)) * 40, "Grüße 日本語 🎉\n".encode() * 999]
)
def test_input_comes_back_as_it_was(alice: Client, data: bytes) -> None:
    assert alice.run("web-1@localhost", "cat", stdin=data).stdout == data


def test_flood_of_50_megabytes_arrives_whole_and_is_recorded_whole(alice: Client, world: World) -> None:
    script = "import random,sys; sys.stdout.buffer.write(random.Random(7).randbytes(50_000_000))"
    done = alice.run("web-1@localhost", f'python3 -c "{script}"', timeout=90)
    expected = digest(random.Random(7).randbytes(50 * MEGABYTE))
    assert digest(done.stdout) == expected
    assert digest(streams(world.recordings[-1]).output) == expected


def test_upload_of_20_megabytes_arrives_whole_and_is_recorded_whole(alice: Client, world: World) -> None:
    data = os.urandom(20 * MEGABYTE)
    assert alice.run("web-1@localhost", "sha256sum", stdin=data, timeout=60).text.split()[0] == digest(data)
    assert streams(world.recordings[-1]).input == data


def test_program_that_exits_right_after_its_last_byte_loses_none(alice: Client) -> None:
    script = "import os; os.write(1, b'x' * 3_000_000); os._exit(3)"
    for _ in range(5):
        done = alice.run("web-1@localhost", f'python3 -c "{script}"')
        assert (done.status, len(done.stdout)) == (3, 3_000_000)


def test_end_of_input_reaches_the_program_while_its_output_goes_on(alice: Client) -> None:
    done = alice.run("web-1@localhost", "cat; echo and more; sleep 0.2; echo at last", stdin=b"given\n")
    assert done.text == "given\nand more\nat last\n"


def test_program_that_a_signal_ended_is_told_as_such(alice: Client, world: World) -> None:
    done = alice.run("web-1@localhost", "kill -KILL $$")
    assert done.status == 255
    assert rows(world)[0]["ending"] == "killed"


def test_stderr_is_recorded_apart_from_stdout(alice: Client, world: World) -> None:
    alice.run("web-1@localhost", "printf 'a\\r\\nb\\n'; printf 'no\\xff\\n' >&2")
    recorded = streams(world.recordings[-1])
    assert (recorded.output, recorded.error) == (b"a\r\nb\n", b"no\xff\n")


def test_several_channels_of_one_connection_go_each_to_their_own_target(alice: Client, world: World) -> None:
    socket = world.folder / "mux"
    master = ["-S", str(socket), "-o", "ControlPersist=no", "-M", "-N", "-f", "alice@localhost"]
    subprocess.run(alice.command(*master), check=True, timeout=30)
    try:
        before = len(world.recordings)
        names = [
            alice.run("-S", str(socket), "alice@localhost", f"{target} hostname").text
            for target in ("web-1", "web-2", "ops@web-1")
        ]
        assert names == ["web-1\n", "web-2\n", "web-1\n"]
        assert len(world.recordings) == before + 3
    finally:
        subprocess.run(alice.command("-S", str(socket), "-O", "exit", "alice@localhost"), check=False)


def test_sftp_is_offered_where_policy_grants_it_and_refused_elsewhere(
    alice: Client, sign_in: SignIn, world: World
) -> None:
    source = world.folder / "blob"
    source.write_bytes(os.urandom(300_000))
    done = alice.run(str(source), "web-1@localhost:blob", program="scp")
    assert done.status == 0, done.errors
    assert (world.web_1.home("deploy") / "blob").read_bytes() == source.read_bytes()
    refused = sign_in("bob").run(str(source), "web-2@localhost:blob", program="scp")
    assert refused.status != 0
    assert "no rule lets you transfer files on web-2" in refused.errors
