"""Stock ssh into pods through the whole bastion: what people get, what recordings have, what the cluster sees."""

from __future__ import annotations

import json

import pexpect
import pytest

from tests.kubernetes.conftest import Place
from tests.kubernetes.storage import pod
from tests.rig.openssh import Client
from tests.rig.process import wait_for_end
from tests.rig.world import World
from tests.server.recorded import rows, streams, wait_for_ending


@pytest.fixture
def alice(town: World) -> Client:
    return town.certified("alice")


def test_a_shell_in_a_pod_is_a_terminal_with_size_interrupt_and_status(
    town: World, alice: Client, cluster: Place
) -> None:
    """`ssh -t bastion prod-k8s/namespace/pod` for a person who resizes, interrupts and leaves with 7."""
    path = f"{cluster.namespace}/{cluster.pod}:{cluster.container}"
    ssh = alice.spawn("-t", "localhost", f"prod-k8s/{path}", rows=33, columns=91)
    ssh.sendline("stty size; echo on-$((40+2))")
    ssh.expect("33 91")
    ssh.expect("on-42")
    ssh.setwinsize(50, 120)
    ssh.sendline("sleep 0.2; stty size")
    ssh.expect("50 120")
    ssh.sendline("sh -c 'echo sleep$0; exec sleep 100' s")
    ssh.expect("sleeps")
    ssh.send("\x03")
    ssh.sendline("exit 7")
    wait_for_end(ssh)
    assert ssh.exitstatus == 7
    row = rows(town)[0]
    assert (row["kind"], row["action"], row["ending"], row["exit_status"]) == (
        "kubernetes",
        "shell",
        "exited",
        7,
    )
    assert json.loads(town.recordings[-1].read_text().splitlines()[0])["bastion"]["facts"]["path"] == path
    recorded = streams(town.recordings[-1])
    assert b"on-42" in recorded.output
    assert b"\x03" in recorded.input
    assert '"120x50"' in town.recordings[-1].read_text()


def test_the_streams_of_a_command_stay_apart_byte_by_byte(town: World, alice: Client, cluster: Place) -> None:
    data = bytes(range(256)) * 300
    done = alice.run("localhost", f"prod-k8s/{cluster.pod}", "cat; echo end >&2; exit 3", stdin=data)
    assert (done.status, done.stdout, done.stderr) == (3, data, b"end\n")
    recorded = streams(town.recordings[-1])
    assert (recorded.output, recorded.error, recorded.input) == (data, b"end\n", data)
    assert rows(town)[0]["exit_status"] == 3


def test_the_cluster_knows_the_person_and_the_session(town: World, alice: Client, cluster: Place) -> None:
    if cluster.double is None:
        pytest.skip("the audit log of a real cluster is not at hand")
    assert alice.run("localhost", f"prod-k8s/{cluster.pod}", "true").status == 0
    seen = next(each for each in reversed(cluster.double.seen) if each.asked.subresource == "exec")
    assert (seen.by, seen.user.name, seen.user.groups[0]) == ("bastion", "alice", "sre")
    assert seen.user.extra["bastion-session"] == (rows(town)[0]["id"],)
    assert seen.asked.commands == ("true",)


def test_the_log_of_a_container_is_a_session_too(town: World, alice: Client, cluster: Place) -> None:
    if cluster.double is None:
        pytest.skip("what runs in the pod of a real cluster says nothing")
    done = alice.run("localhost", "logs", f"prod-k8s/{cluster.pod}:app", "--tail", "2")
    assert (done.status, done.text) == (0, "line 18\nline 19\n")
    assert (rows(town)[0]["action"], rows(town)[0]["command"]) == ("exec", "logs --tail 2")
    ssh = alice.spawn("-t", "localhost", f"logs prod-k8s/{cluster.pod} -f")
    ssh.expect("line 22\r\n")
    ssh.send("\x03")
    wait_for_end(ssh)
    assert ssh.exitstatus == 130
    wrong = alice.run("localhost", "logs", f"prod-k8s/{cluster.pod}", "--tail", "many")
    assert "--tail needs a number of lines" in wrong.errors


REFUSED: list[tuple[str, str, int, str]] = [
    ("alice", "prod-k8s", 77, "name a pod of prod-k8s"),
    ("alice", "prod-k8s/a/b/c", 77, "a/b/c is no pod"),
    ("alice", "prod-k8s/shop/../secrets", 77, "is no pod"),
    ("alice", "prod-k8s/shop/api-7d9?container=x", 77, "is no pod"),
    ("alice", "prod-k8s/shop/api-7d9:", 77, "is no pod"),
    ("alice", "prod-k8s/shop/absent", 255, 'pods "absent" not found'),
    ("alice", "prod-k8s/api-7d9:absent", 255, "container absent is not valid for pod api-7d9"),
    ("alice", "prod-k8s/stuck-0", 255, "does not have a host assigned"),
    ("bob", "prod-k8s/kube-system/dns-0", 77, "you may in the namespaces shop (pods api-*, worker-*)"),
    ("bob", "prod-k8s/shop/small-0", 77, "no rule lets you run a command in shop/small-0 on prod-k8s as bob"),
]


@pytest.mark.parametrize(("who", "target", "status", "problem"), REFUSED)
def test_what_cannot_be_is_refused_with_a_reason(
    town: World, cluster: Place, who: str, target: str, status: int, problem: str
) -> None:
    if cluster.double is None:
        pytest.skip("the names are those of the double")
    done = town.certified(who).run("localhost", target, "ls")
    assert problem in done.errors
    assert done.status == status
    assert done.stdout == b""


def test_rbac_of_the_cluster_has_the_last_word(town: World, cluster: Place) -> None:
    if cluster.double is None:
        pytest.skip("the RBAC of a real cluster is not ours")
    granted = cluster.double.rbac.grants
    cluster.double.rbac.grants = [grant for grant in granted if grant.subject != "dev"]
    try:
        done = town.certified("bob").run("localhost", "prod-k8s/shop/api-7d9", "ls")
    finally:
        cluster.double.rbac.grants = granted
    assert done.status == 255
    assert 'User "bob" cannot get resource "pods/exec"' in done.errors
    assert rows(town)[0]["ending"] == "target refused"


def test_a_pod_that_dies_ends_the_session_with_its_reason(town: World, alice: Client, cluster: Place) -> None:
    if cluster.double is None:
        pytest.skip("a real pod is not ours to kill here")
    ssh = alice.spawn("-t", "localhost", f"prod-k8s/{cluster.pod}")
    ssh.sendline("echo on-$((40+2))")
    ssh.expect("on-42")
    cluster.double.cut_streams()
    ssh.expect("bastion: prod-k8s closed the connection")
    wait_for_end(ssh)
    assert ssh.exitstatus == 255
    assert rows(town)[0]["ending"] == "target disconnected"


def test_a_person_picks_cluster_namespace_pod_and_container(
    town: World, alice: Client, cluster: Place
) -> None:
    """From the list of targets down to a container among a thousand pods, by typing parts of names."""
    if cluster.double is None:
        pytest.skip("the names are those of the double")
    ssh = alice.spawn("-t", "localhost", rows=30, columns=100)
    _choose(ssh, "prod-k8s", "Signed in as alice")
    _choose(ssh, "many", "choose a namespace")
    _choose(ssh, "worker-00742", "choose a pod")
    ssh.expect_exact("# ")
    ssh.sendline("echo in-$HOSTNAME; exit 3")
    ssh.expect("in-worker-00742")
    ssh.expect("prod-k8s: the session ended with exit status 3")
    ssh.send("\x1b")
    wait_for_end(ssh)
    assert rows(town)[0]["exit_status"] == 3
    direct = alice.spawn("-t", "localhost", "prod-k8s/shop/", rows=30, columns=100)
    direct.expect("choose a pod")
    cluster.double.storage.put("pods", "shop", "fresh-1", pod("shop", "fresh-1", {"main": "debian"}))
    direct.expect("fresh-1")  # while we look
    cluster.double.storage.delete("pods", "shop", "fresh-1")
    _choose(direct, "api", "")
    _choose(direct, "side", "choose a container")
    direct.sendline("command -v bash || echo no-$((40+2)); exit 5")
    direct.expect("no-42")
    wait_for_end(direct)
    assert direct.exitstatus == 5
    left = alice.spawn("-t", "localhost", "prod-k8s", rows=30, columns=100)
    left.expect("choose a namespace")
    left.send("\x1b")
    wait_for_end(left)
    assert left.exitstatus == 0


def _choose(ssh: pexpect.spawn[str], what: str, heading: str) -> None:
    if heading:
        ssh.expect(heading)
    ssh.send(what)
    ssh.expect(r"\b1 of ")
    ssh.send("\r")


def test_what_is_shown_stands_in_the_recording_before(town: World, alice: Client, cluster: Place) -> None:
    """The server is killed in the middle of output: each byte the person saw is in the recording."""
    ssh = alice.popen("localhost", f"prod-k8s/{cluster.pod}", "seq 1 100000000")
    assert ssh.stdout is not None
    seen = ssh.stdout.read(1 << 20)
    town.bastion.kill()
    seen += ssh.stdout.read()
    ssh.communicate()
    town.bastion.start()
    wait_for_ending(town, "interrupted")
    recorded = streams(town.recordings[-1]).output
    assert len(seen) >= 1 << 20
    assert recorded.startswith(seen)


def test_nothing_is_asked_of_a_cluster_without_a_recording(
    town: World, alice: Client, cluster: Place
) -> None:
    folder = town.data / "recordings"
    years = [path for path in folder.iterdir() if path.is_dir()]
    asked = len(cluster.double.seen) if cluster.double is not None else 0
    for year in years:
        year.rename(folder / f"{year.name}-away")
        year.write_text("in the way")
    try:
        done = alice.run("localhost", f"prod-k8s/{cluster.pod}", "true")
    finally:
        for year in years:
            year.unlink()
            (folder / f"{year.name}-away").rename(year)
    assert done.status == 77
    assert "no session without a recording" in done.errors
    assert cluster.double is None or len(cluster.double.seen) == asked
