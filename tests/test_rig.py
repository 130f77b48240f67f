"""The rig keeps its promises: what other tests stand on is what it says it is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.openssh import Client
from tests.rig.process import descendants, is_running
from tests.rig.sshd import Sshd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("web-1"), name="web-1", logins=("deploy", "ops")) as sshd:
        yield sshd


@pytest.fixture
def client(server: Sshd, tmp_path: Path) -> Client:
    client = Client(tmp_path / "client", port=server.port)
    client.trust_host()
    for login in server.logins:
        server.authorize(login, client.public_key)
    return client


def test_a_login_is_somebody_with_a_home_on_a_host_of_that_name(client: Client, server: Sshd) -> None:
    done = client.run("ops@localhost", "whoami; hostname; pwd; echo oops >&2; exit 7")
    assert done.text.splitlines() == ["ops", "web-1", str(server.home("ops"))]
    assert (done.status, done.errors) == (7, "oops\n")


def test_a_terminal_shows_the_prompt_and_its_size(client: Client) -> None:
    with client.spawn("deploy@localhost", rows=33, columns=101) as terminal:
        terminal.expect_exact("deploy@web-1:~$ ")
        terminal.sendline("stty size")
        terminal.expect_exact("33 101")
        terminal.sendline("exit")
        terminal.expect_exact("closed.")


def test_files_go_both_ways_over_sftp(client: Client, server: Sshd, tmp_path: Path) -> None:
    content = bytes(range(256)) * 300
    (tmp_path / "up").write_bytes(content)
    assert client.run(str(tmp_path / "up"), "deploy@localhost:copied", program="scp").status == 0
    assert (server.home("deploy") / "copied").read_bytes() == content
    assert client.run("deploy@localhost:copied", str(tmp_path / "down"), program="scp").status == 0
    assert (tmp_path / "down").read_bytes() == content


def test_a_certificate_logs_in_and_its_key_id_and_serial_are_in_the_log(server: Sshd, tmp_path: Path) -> None:
    ca, client = tmp_path / "ca", Client(tmp_path / "client", port=server.port)
    _keygen("-t", "ed25519", "-N", "", "-f", str(ca))
    _keygen("-s", str(ca), "-I", "u:alice/x:42", "-z", "42", "-n", "deploy", f"{client.key}.pub")
    assert client.run("-o", "BatchMode=yes", "deploy@localhost", "true").status == 255
    server.trust_ca(Path(f"{ca}.pub").read_text())
    assert client.run("-o", "BatchMode=yes", "deploy@localhost", "true").status == 0
    server.wait_for_log("ID u:alice/x:42 (serial 42)")
    assert client.run("-o", "BatchMode=yes", "ops@localhost", "true").status == 255


def test_a_host_certificate_is_shown_to_those_who_trust_the_host_ca(tmp_path: Path) -> None:
    ca = tmp_path / "host_ca"
    _keygen("-t", "ed25519", "-N", "", "-f", str(ca))
    sshd = Sshd(tmp_path / "db-1", name="db-1")
    sshd.certify_host_key(ca)
    with sshd:
        client = Client(tmp_path / "client", port=sshd.port, settings="StrictHostKeyChecking yes")
        client.known_hosts.write_text(f"@cert-authority * {Path(f'{ca}.pub').read_text()}")
        sshd.authorize("deploy", client.public_key)
        assert client.run("deploy@localhost", "hostname").text == "db-1\n"


def test_a_stopped_server_leaves_no_process_and_comes_back_on_its_port(tmp_path: Path) -> None:
    sshd = Sshd(tmp_path / "web-1", name="web-1")
    with sshd:
        client = Client(tmp_path / "client", port=sshd.port)
        sshd.authorize("deploy", client.public_key)
        session = client.popen("deploy@localhost", "echo started; sleep 1000")
        assert session.stdout is not None
        assert session.stdout.readline() == b"started\n"
        port, below = sshd.port, descendants(sshd._process.pid if sshd._process else 0)
        assert below
    assert session.wait(10) == 255
    session.communicate()
    assert not any(map(is_running, below))
    with sshd:
        assert sshd.port == port


def _keygen(*arguments: str) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, stdin=subprocess.DEVNULL)
