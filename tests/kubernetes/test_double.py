"""The double is what the real kubectl takes for a cluster, bastion or not: else its tests would prove little."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.kubernetes.double import Double
from tests.rig.openssh import Finished

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def kubectl(double: Double, *arguments: str, stdin: str = "", group: str = "sre") -> Finished:
    file = double.kubeconfig(user="alice", groups=(group,), file=f"{group}.kubeconfig")
    done = subprocess.run(
        ["kubectl", "--kubeconfig", str(file), *arguments],
        input=stdin.encode(), capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    return Finished(status=done.returncode, stdout=done.stdout, stderr=done.stderr)


def test_kubectl_lists_and_describes_what_there_is(double: Double) -> None:
    assert "v1.32.0-double" in kubectl(double, "version").text
    assert kubectl(double, "get", "pods").text.splitlines()[1].split() == [
        "api-7d9",
        "2/2",
        "Running",
        "0",
        "1d",
    ]
    assert json.loads(kubectl(double, "get", "pod", "api-7d9", "-o", "json").text)["kind"] == "Pod"
    missing = kubectl(double, "get", "pod", "absent")
    assert 'Error from server (NotFound): pods "absent" not found' in missing.errors


def test_kubectl_runs_commands_and_reads_logs(double: Double) -> None:
    done = kubectl(
        double, "exec", "-i", "api-7d9", "-c", "app", "--", "sh", "-c", "cat; exit 7", stdin="hello"
    )
    assert (done.status, done.text) == (7, "hello")
    assert kubectl(double, "logs", "api-7d9", "-c", "app", "--tail", "1").text == "line 19\n"


def test_kubectl_hears_what_rbac_says(double: Double) -> None:
    assert (
        kubectl(double, "auth", "can-i", "create", "pods", "--subresource", "exec", group="dev").text
        == "yes\n"
    )
    assert kubectl(double, "auth", "can-i", "delete", "pods", group="dev").text == "no\n"
    refused = kubectl(double, "get", "pods", "-n", "kube-system", group="dev")
    assert (
        'User "alice" cannot list resource "pods" in API group "" in the namespace "kube-system"'
        in refused.errors
    )


def test_kubectl_applies_and_removes(double: Double) -> None:
    made = json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}}
    )
    assert kubectl(double, "apply", "--validate=false", "-f", "-", stdin=made).text == "configmap/x created\n"
    assert (
        kubectl(double, "apply", "--validate=false", "-f", "-", stdin=made).text == "configmap/x unchanged\n"
    )
    assert kubectl(double, "delete", "configmap", "x").status == 0
