"""The real kubectl through the real ssh: by SOCKS and by a forwarded port, against the double of a cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest

from recorder.events import Event, Exited, Happened, Resized
from recorder.reader import open_recording
from recorder.statements import Account
from tests.kubernetes.containers import V4
from tests.kubernetes.double import Double
from tests.rig.bastion import PROGRAM
from tests.rig.openssh import Client, Finished
from tests.rig.process import end, free_port, wait_for_end, wait_until
from tests.rig.world import World
from tests.server.recorded import streams

TARGET = """
[[targets]]
kind = "kubernetes"
name = "prod-k8s"
namespace = "shop"
"""
POLICY = """
[[policy.rules]]
name = "clusters of site reliability"
groups = ["sre"]
targets = ["prod-k8s"]
logins = ["{user}"]

[policy.rules.kubernetes]
verbs = ["*"]
resources = ["*", "secrets", "pods/attach", "pods/portforward"]

[[policy.rules]]
name = "clusters of developers"
groups = ["dev"]
targets = ["prod-k8s"]
logins = ["{user}"]
actions = ["connect"]

[policy.rules.kubernetes]
namespaces = ["shop"]
"""


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    with Double(tmp_path_factory.mktemp("cluster")) as double:
        yield double


@pytest.fixture(scope="module")
def clusters(world: World, double: Double) -> World:
    """The bastion, with the target prod-k8s and rules for it."""
    file = world.bastion.config
    settings = file.read_text().replace("[server]", "[recording]\nrequest_bodies = true\n\n[server]", 1)
    file.write_text(f"{settings}\n{TARGET}kubeconfig = '{double.kubeconfig()}'\n{POLICY}")
    world.reload()
    return world


@dataclass(frozen=True, slots=True)
class Kubectl:
    """A person's kubectl with one kubeconfig."""

    kubeconfig: Path

    @property
    def environment(self) -> dict[str, str]:
        folder = self.kubeconfig.parent
        return {**os.environ, "HOME": str(folder), "KUBECONFIG": str(self.kubeconfig), "NO_PROXY": ""}

    def __call__(self, *arguments: str, stdin: bytes = b"", timeout: float = 30.0) -> Finished:
        done = subprocess.run(
            ["kubectl", *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout,
        )
        return Finished(status=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def popen(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["kubectl", *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def spawn(self, *arguments: str, rows: int = 24, columns: int = 80) -> pexpect.spawn[str]:
        return pexpect.spawn(
            "kubectl",
            list(arguments),
            env=self.environment,
            dimensions=(rows, columns),
            encoding="utf-8",
            timeout=20,
        )


@contextmanager
def connected(client: Client, *options: str) -> Iterator[Kubectl]:
    """An `ssh -N` with SOCKS or a forwarded port, and kubectl that goes through it; *options* are of kubeconfig."""
    port = free_port()
    option = "--local-port" if "-L" in options else "--socks-port"
    printed = client.run("localhost", "kubeconfig", "prod-k8s", option, str(port))
    assert printed.status == 0, printed.errors
    file = client.folder / f"kubeconfig-{port}"
    file.write_bytes(printed.stdout)
    forward = ["-L", f"127.0.0.1:{port}:prod-k8s:443"] if "-L" in options else ["-D", f"127.0.0.1:{port}"]
    ssh = client.popen("-N", "-o", "ExitOnForwardFailure=yes", *forward, "localhost")
    try:
        wait_until(lambda: _listens(port) or ssh.poll() is not None, "ssh listening")
        yield Kubectl(file)
    finally:
        end(ssh)


def _listens(port: int) -> bool:
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    return wanted in Path("/proc/net/tcp").read_text()


@pytest.fixture(scope="module")
def kubectl(clusters: World) -> Iterator[Kubectl]:
    """The kubectl of alice, who may do everything, by SOCKS."""
    with connected(clusters.certified("alice")) as kubectl:
        yield kubectl


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A recording of a session on prod-k8s."""

    path: Path
    facts: Mapping[str, Any]
    events: list[Event]
    account: Account | None

    @property
    def happened(self) -> list[Happened]:
        return [event for event in self.events if isinstance(event, Happened)]


def kept(world: World, action: str) -> Kept:
    """The newest session of that action as it is now."""
    for path in reversed(world.recordings):
        with open_recording(path) as recording:
            facts = recording.header.facts
            if (facts["kind"], facts["action"]) == ("kubernetes", action):
                events = [entry.event for entry in recording]
                account = recording.seal.session if recording.seal is not None else None
                return Kept(path=path, facts=facts, events=events, account=account)
    raise AssertionError(f"no session {action}")


def newest(world: World, action: str) -> Kept:
    """The newest session of that action, once it has ended."""
    wait_until(lambda: kept(world, action).account is not None, f"a session {action} that has ended")
    return kept(world, action)


def test_the_usual_commands_work_by_socks(kubectl: Kubectl, double: Double) -> None:
    assert "api-7d9" in kubectl("get", "pods").text
    assert "Name:" in kubectl("describe", "pod", "api-7d9").text
    assert kubectl("auth", "can-i", "delete", "pods").text.strip() == "yes"
    assert json.loads(kubectl("get", "--raw", "/version").text)["major"] == "1"
    assert kubectl("logs", "api-7d9", "--tail", "2").text.splitlines() == ["line 18", "line 19"]
    seen = next(seen for seen in double.seen if seen.asked.resource == "pods")
    assert (seen.user.name, seen.by) == ("alice", "bastion")
    assert "sre" in seen.user.groups


def test_a_forwarded_port_does_too(clusters: World) -> None:
    with connected(clusters.certified("alice"), "-L") as kubectl:
        done = kubectl("get", "pods", "-o", "name")
    assert "pod/api-7d9" in done.text.splitlines(), done.errors


def test_logs_and_watches_come_as_they_happen_and_end_with_kubectl(kubectl: Kubectl, double: Double) -> None:
    for arguments, awaited in [
        (["logs", "-f", "api-7d9"], b"line 21"),
        (["get", "pods", "--watch"], b"api-7d9"),
    ]:
        process = kubectl.popen(*arguments)
        assert process.stdout is not None
        assert any(awaited in line for line in process.stdout)
        end(process)
        process.stdout.close()


def test_changes_are_made_and_their_bodies_kept_but_never_those_of_secrets(
    clusters: World, double: Double
) -> None:
    things = [
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": "one", "namespace": "shop"}, **content}
        for kind, content in [
            ("ConfigMap", {"data": {"a": "plain"}}),
            ("Secret", {"stringData": {"b": "hidden"}}),
        ]
    ]
    with connected(clusters.certified("alice")) as kubectl:
        for thing in things:
            made = kubectl("apply", "--validate=false", "-f", "-", stdin=json.dumps(thing).encode())
            assert "one created" in made.text, made.errors
        again = kubectl(
            "apply",
            "--validate=false",
            "-f",
            "-",
            stdin=json.dumps({**things[0], "data": {"a": "other"}}).encode(),
        )
        assert "one configured" in again.text, again.errors
        assert kubectl("delete", "configmap/one", "secret/one").status == 0
    session = newest(clusters, "connect")
    recording = session.path.read_text()
    assert "plain" in recording
    assert "hidden" not in recording
    said = [event.text for event in session.happened if event.what == "end"]
    assert "create configmaps -n shop: 201" in said
    assert "patch configmaps one -n shop: 200" in said
    assert "delete secrets one -n shop: 200" in said


def test_what_a_person_may_not_do_is_refused_in_words_and_on_record(clusters: World) -> None:
    with connected(clusters.certified("bob")) as kubectl:
        assert "api-7d9" in kubectl("get", "pods").text
        for arguments, awaited in [
            (["delete", "pod", "api-7d9"], "delete pods"),
            (["get", "secrets"], "secrets"),
            (["get", "pods", "-n", "kube-system"], "kube-system"),
            (["exec", "api-7d9", "--", "true"], "run a command in shop/api-7d9"),
            (["get", "pods", "--as", "root"], "--as"),
        ]:
            done = kubectl(*arguments)
            assert done.status == 1
            assert re.search(rf"Error from server \(Forbidden\): .*{awaited}", done.errors), done.errors
    session = newest(clusters, "connect")
    (refused,) = [e for e in session.happened if e.text == "delete pods api-7d9 -n shop: 403"]
    assert refused.facts["bytes"] == 0


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("", 64, "name one cluster"),
        ("web-1", 64, "web-1 is no Kubernetes cluster"),
        ("no-such", 77, "there is no target no-such that you may reach"),
        ("prod-k8s --local-port 99999", 64, "--local-port needs the number of a port"),
        ("prod-k8s --local-port 1 --socks-port 2", 64, "one port at most"),
        ("prod-k8s --portt 1", 64, "does not know --portt"),
    ],
)
def test_a_kubeconfig_that_cannot_be_made_is_explained(
    clusters: World, words: str, status: int, said: str
) -> None:
    done = clusters.certified("alice").run("localhost", f"kubeconfig {words}")
    assert (done.status, done.stdout) == (status, b"")
    assert said in done.errors


def test_the_local_command_prints_what_the_bastion_does(clusters: World, tmp_path: Path) -> None:
    """It finds place and credential where `bastion login` leaves them."""
    alice = clusters.certified("alice")
    ssh, settings = tmp_path / ".ssh", tmp_path / ".config" / "bastion"
    ssh.mkdir(mode=0o700)
    settings.mkdir(parents=True)
    shutil.copy2(alice.key, ssh / "bastion-127.0.0.1")
    shutil.copy2(alice.certificate, ssh / "bastion-127.0.0.1-cert.pub")
    place = f'host = "127.0.0.1"\nport = {clusters.bastion.port}\nuser = ""\nalias = "bastion"\n'
    (settings / "login.toml").write_text(place)
    (tmp_path / "bin").mkdir()
    program = (
        tmp_path / "bin" / "ssh"
    )  # ssh itself looks for known_hosts in the home of the account, not of HOME
    program.write_text(
        f'#!/bin/sh\nexec {shutil.which("ssh")} -F "{alice.config}" -oHostKeyAlias=localhost "$@"\n'
    )
    program.chmod(0o700)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    command = [str(PROGRAM), "kubeconfig", "prod-k8s", "--local-port", "6443"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "server: https://127.0.0.1:6443" in done.stdout
    refused = subprocess.run(
        [*command[:2], "no-such"], env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert (refused.returncode, refused.stdout) == (77, "")
    assert "there is no target no-such" in refused.stderr


def test_a_kubeconfig_is_of_no_use_to_anybody_else(clusters: World, kubectl: Kubectl) -> None:
    with connected(clusters.certified("bob")) as other:
        port = other.kubeconfig.name.rpartition("-")[2]
        stolen = other.kubeconfig.with_name("stolen")
        stolen.write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", kubectl.kubeconfig.read_text()))
        done = Kubectl(stolen)("get", "pods")
    assert done.status == 1
    assert "this is not the kubeconfig of your sign-in" in done.errors


def test_a_shell_in_a_pod_is_a_terminal_and_a_recording_of_its_own(clusters: World, kubectl: Kubectl) -> None:
    shell = kubectl.spawn("exec", "-it", "api-7d9", "--", "sh", rows=30, columns=100)
    shell.expect("# ")
    shell.sendline("stty size")
    shell.expect("30 100")
    shell.setwinsize(40, 120)
    shell.sendline("sleep 0.2; stty size")
    shell.expect("40 120")
    shell.sendline("sleep 100")
    shell.expect("sleep 100")
    shell.sendintr()
    shell.expect("# ")
    shell.sendline("exit 7")
    wait_for_end(shell)
    shell.close()
    assert shell.exitstatus == 7

    session = newest(clusters, "shell")
    assert session.account is not None
    assert session.account.exit_status == 7
    facts, events = session.facts, session.events
    assert (facts["user"], facts["path"], facts["command"]) == ("alice", "shop/api-7d9:app", "sh")
    assert [event for event in events if isinstance(event, Resized)] == [Resized(100, 30), Resized(120, 40)]
    assert isinstance(events[0], Resized)
    assert Exited(7) in events
    assert b"40 120" in streams(session.path).output


def test_commands_keep_their_streams_apart_and_copies_arrive(
    clusters: World, kubectl: Kubectl, tmp_path: Path
) -> None:
    done = kubectl("exec", "api-7d9", "--", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (done.text, "err\n" in done.errors, done.status) == ("out\n", True, 5)
    account = newest(clusters, "exec").account
    assert account is not None
    assert account.exit_status == 5
    content = bytes(range(256)) * 1000
    echoed = kubectl("exec", "-i", "api-7d9", "--", "cat", stdin=content)
    assert echoed.stdout == content
    source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
    source.write_bytes(content)
    assert kubectl("cp", str(source), f"api-7d9:{there}").status == 0
    assert there.read_bytes() == content
    assert kubectl("cp", f"api-7d9:{there}", str(back)).status == 0
    assert back.read_bytes() == content


def test_a_server_that_knows_v4_alone_is_spoken_to_as_well(
    kubectl: Kubectl, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(double, "protocols", (V4,))
    done = kubectl("exec", "api-7d9", "--", "sh", "-c", "echo out; exit 5")
    assert (done.text, done.status) == ("out\n", 5)


def test_attach_is_recorded_too(clusters: World, kubectl: Kubectl) -> None:
    done = kubectl("attach", "-i", "api-7d9", stdin=b"hello\n")
    assert done.text == "attached\nhello\n"
    assert streams(newest(clusters, "exec").path).input == b"hello\n"


def test_what_the_cluster_refuses_is_heard_in_its_own_words(kubectl: Kubectl) -> None:
    done = kubectl("exec", "bare-0", "--", "nothing-of-the-kind")
    assert done.status == 1
    assert "executable file not found" in done.errors
    assert "not found" in kubectl("get", "pod", "absent").errors


@pytest.mark.parametrize("action", ["shell", "connect"])
def test_a_killed_shell_says_so_and_one_whose_whole_session_is_killed(clusters: World, action: str) -> None:
    with connected(clusters.certified("alice")) as kubectl:
        shell = kubectl.spawn("exec", "-it", "api-7d9", "--", "sh")
        shell.expect("# ")
        assert kept(clusters, action).account is None
        assert (
            clusters.bastion.run("kill", kept(clusters, action).path.stem, "--message", "lunch").status == 0
        )
        shell.expect("lunch")
        wait_for_end(shell)
        shell.close()
        assert shell.exitstatus != 0
    account = newest(clusters, "shell").account
    assert account is not None
    assert account.ending == "ended by operator"


def test_the_requests_of_a_session_are_found_and_replayed(clusters: World) -> None:
    client = clusters.certified("alice")
    with connected(client) as kubectl:
        kubectl("get", "pod", "small-0")
    session = newest(clusters, "connect").path.stem
    wait_until(lambda: session in client.run("localhost", "search", "small-0").text, "it is found")
    shown = clusters.bastion.run("export", session, "--format", "text")
    assert "get pods small-0 -n shop  200" in shown.text


def test_kubeconfigs_outlive_a_rotation_of_the_tls_authority(clusters: World) -> None:
    """Go's own verifier takes the new certificate, for which the old authority vouches."""
    alice = clusters.certified("alice")

    def authority(kubeconfig: str) -> str:
        found = re.search(r"certificate-authority-data: (\S+)", kubeconfig)
        assert found is not None
        return found[1]

    def now() -> str:
        return authority(alice.run("localhost", "kubeconfig", "prod-k8s").text)

    with connected(alice) as kubectl:
        old = authority(kubectl.kubeconfig.read_text())
        rotated = clusters.bastion.run("ca", "rotate", "tls")
        assert "-----BEGIN CERTIFICATE-----" in rotated.text, rotated.errors
        wait_until(lambda: now() != old, "a kubeconfig with the new certificate")
        assert "api-7d9" in kubectl("get", "pods").text


def test_port_forward_carries_connections_where_a_rule_names_it(clusters: World, kubectl: Kubectl) -> None:
    port = free_port()
    forwarding = kubectl.popen("port-forward", "pod/api-7d9", f"{port}:80")
    try:
        wait_until(lambda: _listens(port), "kubectl listening")
        for text in (b"first", b"second"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(text)
                assert connection.recv(100) == text.upper()
    finally:
        end(forwarding)
    wait_until(
        lambda: any(b"FIRST" in streams(path).output for path in clusters.recordings[-3:]),
        "the bytes on record",
    )


def test_port_forward_is_off_where_no_rule_names_it(clusters: World) -> None:
    with connected(clusters.certified("bob")) as kubectl:
        done = kubectl("port-forward", "pod/api-7d9", f"{free_port()}:80")
    assert done.status
    assert "pods/portforward" in done.errors
