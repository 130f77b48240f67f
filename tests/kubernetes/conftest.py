"""The cluster that tests use: the double, or the one of `scripts/test --kubernetes KUBECONFIG`."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bastion.config.targets import KubernetesTarget
from tests.kubernetes.double import Double
from tests.rig.world import World

POLICY = """
[[policy.rules]]
name = "clusters for sre"
groups = ["sre"]
targets = ["prod-k8s"]
logins = ["{user}"]

[[policy.rules]]
name = "the shop for developers"
groups = ["dev"]
targets = ["prod-k8s"]
logins = ["{user}"]
kubernetes = { namespaces = ["shop"], pods = ["api-*", "worker-*"] }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A pod to work in: where it is, and the kubeconfig of somebody who may impersonate."""

    kubeconfig: Path
    namespace: str
    pod: str
    container: str
    double: Double | None

    def target(self, **more: object) -> KubernetesTarget:
        """The cluster as a target of the bastion."""
        settings: dict[str, object] = {
            "kind": "kubernetes",
            "name": "prod-k8s",
            "kubeconfig": self.kubeconfig,
        }
        return KubernetesTarget.model_validate(settings | {"namespace": self.namespace} | more)

    def toml(self, *lines: str) -> str:
        """The same as a section of a configuration."""
        head = ["[[targets]]", 'kind = "kubernetes"', 'name = "prod-k8s"', 'labels = { env = "production" }']
        head += [
            f"kubeconfig = {json.dumps(str(self.kubeconfig))}",
            f"namespace = {json.dumps(self.namespace)}",
        ]
        return "\n".join([*head, *lines, ""])


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Double]:
    """A double, for tests of what only a double can do."""
    with Double(tmp_path_factory.mktemp("double")) as double:
        yield double


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A pod in the cluster that was named on the command line, else in a double."""
    given = request.config.getoption("--kubernetes")
    if given is None:
        with Double(tmp_path_factory.mktemp("cluster"), many_pods=1_000) as made:
            yield Place(
                kubeconfig=made.kubeconfig(), namespace="shop", pod="api-7d9", container="app", double=made
            )
        return
    kubeconfig = tmp_path_factory.mktemp("cluster") / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    kubeconfig.write_bytes(
        subprocess.run(
            ["kubectl", "--kubeconfig", given, "config", "view", "--raw", "--flatten"],
            check=True,
            capture_output=True,
        ).stdout
    )
    namespace = f"bastion-test-{uuid.uuid4().hex[:8]}"
    try:
        _kubectl(
            kubeconfig, "apply", "--validate=false", "-f", "-",
            stdin=json.dumps(_workplace(namespace, request.config.getoption("--kubernetes-image"))),
        )  # fmt: skip
        _kubectl(
            kubeconfig, "-n", namespace, "wait", "--for=condition=Ready", "pod/api-7d9", "--timeout=120s"
        )
        yield Place(kubeconfig=kubeconfig, namespace=namespace, pod="api-7d9", container="app", double=None)
    finally:
        _kubectl(kubeconfig, "delete", "namespace", namespace, "--wait=false")


def _workplace(namespace: str, image: str) -> dict[str, object]:
    """A namespace with a pod in it, where the group sre may do what there is to do."""
    rbac = "rbac.authorization.k8s.io"
    container = {"name": "app", "image": image, "command": ["sleep", "3600"]}
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "sre", "namespace": namespace},
                "subjects": [{"kind": "Group", "name": "sre", "apiGroup": rbac}],
                "roleRef": {"kind": "ClusterRole", "name": "admin", "apiGroup": rbac},
            },
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "api-7d9", "namespace": namespace},
                "spec": {"containers": [container]},
            },
        ],
    }


@pytest.fixture(scope="module")
def town(world: World, cluster: Place) -> World:
    """A running bastion with the cluster prod-k8s, which alice (sre) and bob (dev) may use by their own names."""
    world.configure(f"{cluster.toml()}\n{POLICY}")
    return world


def _kubectl(kubeconfig: Path, *arguments: str, stdin: str = "") -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    subprocess.run(
        ["kubectl", "--kubeconfig", str(kubeconfig), *arguments],
        check=True,
        timeout=180,
        input=stdin.encode(),
    )
